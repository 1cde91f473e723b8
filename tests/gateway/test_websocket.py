"""The socket: both directions, and errors that leave it open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import redis
import websockets
from tests.eventually import eventually
from tests.gateway.conftest import Gates, serving
from websockets.asyncio.client import ClientConnection, connect

from castwork import App
from castwork.gateway import create_gateway
from castwork.gateway import websocket as gateway_websocket


class Socket:
    """A client's end."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, text: str | None = None, **message: Any) -> None:
        await self.connection.send(json.dumps(message) if text is None else text)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            heard: dict[str, Any] = json.loads(await self.connection.recv())
        return heard

    async def ask(self, text: str | None = None, **message: Any) -> dict[str, Any]:
        await self.say(text, **message)
        return await self.hear()


@pytest.fixture
async def ws(url: str) -> AsyncIterator[Socket]:
    async with connect(url.replace("http", "ws") + "/ws") as connection:
        yield Socket(connection)


async def test_events_are_published_and_heard_over_one_socket(ws: Socket) -> None:
    assert await ws.ask(subscribe="news") == {
        "type": "subscribed",
        "channel": "news",
        "id": "0-0",
    }
    await ws.say(publish="news", event={"n": 1})
    said = {message["type"]: message for message in (await ws.hear(), await ws.hear())}
    event_id = said["published"]["id"]
    assert said["event"] == {"type": "event", "channel": "news", "id": event_id, "event": {"n": 1}}
    assert (await ws.ask(unsubscribe="news"))["type"] == "unsubscribed"
    assert (await ws.ask(publish="news", event={"n": 2}))["type"] == "published"


async def test_a_subscriber_catches_up(ws: Socket, app: App) -> None:
    receipts = [await app.channels["news"].publish({"n": n}) for n in range(5)]
    assert (await ws.ask(subscribe="news", after=receipts[1].id))["type"] == "subscribed"
    assert [(await ws.hear())["event"]["n"] for _ in range(3)] == [2, 3, 4]


async def test_a_subscriber_is_told_to_resync(ws: Socket, namespace: str) -> None:
    channel = f"{namespace}.plain"
    await ws.ask(subscribe=channel, after="1-1")
    assert await ws.hear() == {"type": "resync", "channel": channel}
    await ws.say(publish=channel, event={"n": 1})
    said = {message["type"]: message for message in (await ws.hear(), await ws.hear())}
    assert said["event"] == {"type": "event", "channel": channel, "id": "", "event": {"n": 1}}
    assert said["published"]["subscribers"] == 1


@pytest.mark.usefixtures("worker")
async def test_a_task_is_enqueued_and_followed(ws: Socket) -> None:
    enqueued = await ws.ask(enqueue="spell", args={"word": "abc"})
    assert (enqueued["type"], enqueued["task"], enqueued["queue"]) == (
        "enqueued",
        "spell",
        "default",
    )
    task_id = enqueued["task_id"]
    assert await ws.ask(follow=task_id) == {"type": "following", "task_id": task_id}
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["type"] != "result":
        heard.append(await ws.hear())
    assert {message["task_id"] for message in heard} == {task_id}
    chunks = [message for message in heard if message["type"] == "chunk"]
    assert [(chunk["id"], chunk["data"]) for chunk in chunks] == [
        ("1-1", "a"),
        ("1-2", "b"),
        ("1-3", "c"),
    ]
    assert (heard[-1]["status"], heard[-1]["result"]) == ("succeeded", "abc")
    await ws.ask(follow=task_id, after="1-2")
    assert (await ws.hear())["data"] == "c"
    assert (await ws.hear())["type"] == "result"


@pytest.mark.usefixtures("worker")
async def test_progress_and_reset_are_told(ws: Socket) -> None:
    task_id = (await ws.ask(enqueue="stumble", args={"word": "hi"}))["task_id"]
    await ws.ask(follow=task_id)
    kinds = []
    while "result" not in kinds:
        kinds.append((await ws.hear())["type"])
    assert [kind for kind in kinds if kind != "status"] == [
        "progress",
        "chunk",
        "reset",
        "progress",
        "chunk",
        "chunk",
        "result",
    ]


async def test_a_task_is_unfollowed(
    ws: Socket, worker: None, gates: Gates, subscriptions: Callable[[], list[str]]
) -> None:
    task_id = (await ws.ask(enqueue="wait"))["task_id"]
    await ws.ask(follow=task_id)
    assert (await ws.hear())["type"] == "status"
    await ws.say(unfollow=task_id)
    while (await ws.hear())["type"] != "unfollowed":
        pass
    await eventually(lambda: subscriptions() == [])
    gates.open.set()
    assert (await ws.ask(publish="news", event={"n": 1}))["type"] == "published"


async def test_a_call_has_its_options(ws: Socket, client: httpx.AsyncClient) -> None:
    told = await ws.ask(enqueue="add", args={"a": 1}, priority="low", key="order-7")
    assert told["status"] == "queued"
    again = await ws.ask(enqueue="add", args={"a": 1}, key="order-7", delay=60)
    assert (again["task_id"], again["status"]) == (told["task_id"], "queued")
    later = await ws.ask(enqueue="add", args={"a": 1}, delay=60)
    assert later["status"] == "scheduled"
    queues = {queue["name"]: queue for queue in (await client.get("/queues")).json()}
    assert queues["default"]["waiting"] == {"high": 0, "normal": 0, "low": 1}
    assert queues["default"]["scheduled"] == 1


@pytest.mark.parametrize(
    ("message", "error", "about"),
    [
        ('{"enqueue": "add", "args": {"a": 1}, "priority": "top"}', "invalid_arguments", None),
        ('{"enqueue": "add", "args": {"a": 1}, "delay": -1}', "invalid_arguments", None),
        ('{"enqueue": "add", "args": {"a": 1}, "key": ""}', "invalid_arguments", None),
        ("{", "invalid_arguments", None),
        ("[]", "invalid_arguments", None),
        ("{}", "invalid_arguments", None),
        ("[" * 100_000, "invalid_arguments", None),
        ('{"subscribe": "a", "follow": "b"}', "invalid_arguments", None),
        ('{"shout": "a"}', "invalid_arguments", None),
        ('{"subscribe": "newz"}', "unknown_channel", {"subscribe": "newz"}),
        ('{"subscribe": "news", "after": "x"}', "bad_position", {"subscribe": "news"}),
        ('{"publish": "news"}', "invalid_arguments", {"publish": "news"}),
        ('{"publish": "news", "event": []}', "invalid_arguments", {"publish": "news"}),
        ('{"follow": "default-1"}', "task_not_found", {"follow": "default-1"}),
        ('{"enqueue": "ad"}', "unknown_task", {"enqueue": "ad"}),
        ('{"enqueue": "add", "args": {"a": "x"}}', "invalid_arguments", {"enqueue": "add"}),
    ],
)
async def test_an_error_is_told_and_the_socket_stays(
    ws: Socket, message: str, error: str, about: dict[str, str] | None
) -> None:
    answer = await ws.ask(message)
    assert (answer["type"], answer["error"], answer["for"]) == ("error", error, about)
    assert answer["message"]
    assert (await ws.ask(subscribe="news"))["type"] == "subscribed"


async def test_a_full_queue_is_told(ws: Socket) -> None:
    for _ in range(2):
        assert (await ws.ask(enqueue="idle"))["type"] == "enqueued"
    assert (await ws.ask(enqueue="idle"))["error"] == "queue_full"


async def test_a_socket_follows_only_so_much(ws: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_websocket, "_FOLLOWED", 1)
    assert (await ws.ask(subscribe="news"))["type"] == "subscribed"
    assert (await ws.ask(subscribe="news"))["type"] == "subscribed"  # in place of the first
    assert (await ws.ask(subscribe="short"))["error"] == "too_many"


async def test_a_socket_that_closes_leaves_no_subscription(
    url: str, subscriptions: Callable[[], list[str]]
) -> None:
    async with connect(url.replace("http", "ws") + "/ws") as connection:
        ws = Socket(connection)
        task_id = (await ws.ask(enqueue="add", args={"a": 1}))["task_id"]
        await ws.ask(subscribe="news")
        await ws.ask(follow=task_id)
        assert (await ws.hear())["type"] == "status"
        assert len(subscriptions()) == 3
        connection.transport.abort()
    await eventually(lambda: subscriptions() == [])


async def test_two_sockets_hear_the_same_events(
    url: str, ws: Socket, plain: redis.Redis, subscriptions: Callable[[], list[str]]
) -> None:
    async with connect(url.replace("http", "ws") + "/ws") as connection:
        other = Socket(connection)
        await ws.ask(subscribe="news")
        await other.ask(subscribe="news")
        assert len(subscriptions()) == 1
        await ws.say(publish="news", event={"n": 7})
        assert (await other.hear())["event"] == {"n": 7}
        kinds = {(await ws.hear())["type"] for _ in range(2)}
        assert kinds == {"event", "published"}


async def test_a_page_of_another_site_cannot_connect(url: str, app: App) -> None:
    address = url.replace("http", "ws") + "/ws"
    async with connect(address, origin=url):  # type: ignore[arg-type]
        pass
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(address, origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403
    async with (
        serving(create_gateway(app, origins=["https://good.example"])) as other,
        connect(other.replace("http", "ws") + "/ws", origin="https://good.example"),  # type: ignore[arg-type]
    ):
        pass
