"""The routes of channels: publish, listen, catch up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from tests.eventually import eventually
from tests.gateway.conftest import Event, Listen, take

from castwork import App
from castwork.channels.event import Delivered
from castwork.gateway import subscriber as gateway_subscriber
from castwork.store.keys import ChannelKeys


async def publish(client: httpx.AsyncClient, channel: str, *numbers: int) -> list[str]:
    """Publish numbered events; returns their ids."""
    ids = []
    for number in numbers:
        reply = await client.post(f"/channels/{channel}", json={"n": number})
        assert reply.status_code == 202, reply.text
        ids.append(reply.json().get("id", ""))
    return ids


def numbers_of(events: list[Event]) -> list[int]:
    return [event.data["n"] for event in events]


@pytest.fixture
def plain_channel(namespace: str) -> str:
    return f"{namespace}.plain"


async def test_an_event_is_published(client: httpx.AsyncClient, app: App) -> None:
    follower = app.channels["news"].listen(after="0")
    reply = await client.post("/channels/news", json={"n": 1})
    assert reply.status_code == 202
    async with asyncio.timeout(10):
        heard = await anext(follower)
    await follower.aclose()  # type: ignore[attr-defined]
    assert heard == Delivered(reply.json()["id"], {"n": 1})
    assert reply.json()["channel"] == "news"


async def test_a_plain_channel_is_heard_by_any_program(
    client: httpx.AsyncClient, plain: redis.Redis, plain_channel: str
) -> None:
    with plain.pubsub() as other:  # type: ignore[no-untyped-call]
        other.subscribe(plain_channel)
        assert other.get_message(timeout=5)["type"] == "subscribe"
        reply = await client.post(f"/channels/{plain_channel}", json={"n": 1})
        assert reply.status_code == 202
        assert reply.json() == {"channel": plain_channel, "subscribers": 1}
        assert json.loads(other.get_message(timeout=5)["data"]) == {"n": 1}


async def test_an_unknown_channel_is_404_with_close_names(client: httpx.AsyncClient) -> None:
    for reply in (
        await client.post("/channels/newz", json={}),
        await client.get("/channels/newz/events"),
    ):
        assert reply.status_code == 404
        assert (reply.json()["error"], reply.json()["close"]) == ("unknown_channel", ["news"])


@pytest.mark.parametrize("body", [b'{"n": "x"}', b"{", b"[]", b"", b'{"a":' * 50_000])
async def test_an_event_of_another_type_is_422(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/channels/news", content=body, headers=headers)
    assert reply.status_code == 422, reply.text
    assert reply.json()["error"] == "invalid_arguments"


async def test_the_receipt_tells_who_has_applied_it(client: httpx.AsyncClient, app: App) -> None:
    channel = app.channels["news"]

    @channel.subscribe
    async def handle(event: dict[str, int]) -> None:
        if event["n"] < 0:
            raise ValueError("negative")

    await channel.start()
    good = (await client.post("/channels/news?applied=10", json={"n": 1})).json()
    assert (len(good["applied"]), good["failed"], good["lagging"]) == (1, {}, [])
    bad = (await client.post("/channels/news?applied=10", json={"n": -1})).json()
    assert bad["failed"] == {good["applied"][0]: "ValueError: negative"}


async def test_a_plain_channel_has_no_receipts(
    client: httpx.AsyncClient, plain_channel: str
) -> None:
    reply = await client.post(f"/channels/{plain_channel}?applied=1", json={"n": 1})
    assert reply.status_code == 422
    assert reply.json()["field"] == "applied"


async def test_the_channels_are_listed(client: httpx.AsyncClient, plain_channel: str) -> None:
    channels = {one["channel"]: one for one in (await client.get("/channels")).json()}
    assert channels["news"]["history"] == 1000
    assert channels[plain_channel]["history"] == 0


async def test_every_listener_hears_every_event_over_one_subscription(
    client: httpx.AsyncClient, listen: Listen, subscriptions: Callable[[], list[str]]
) -> None:
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(listen("/channels/news/events")) for _ in range(5)
        ]
        ids = await publish(client, "news", 1, 2, 3)
        for events in listeners:
            heard = await take(events, 3)
            assert numbers_of(heard) == [1, 2, 3]
            assert [event.id for event in heard] == ids
            assert {event.type for event in heard} == {"message"}
        assert len(subscriptions()) == 1
    await eventually(lambda: subscriptions() == [])


async def test_the_channel_can_be_joined_again_after_all_have_left(
    client: httpx.AsyncClient, listen: Listen, subscriptions: Callable[[], list[str]]
) -> None:
    for number in range(3):
        async with listen("/channels/news/events") as events:
            await publish(client, "news", number)
            assert numbers_of(await take(events, 1)) == [number]
    await eventually(lambda: subscriptions() == [])


@pytest.mark.parametrize("others_listen", [False, True])
async def test_a_listener_that_returns_misses_nothing(
    client: httpx.AsyncClient, listen: Listen, others_listen: bool
) -> None:
    async with AsyncExitStack() as stack:
        if others_listen:
            await stack.enter_async_context(listen("/channels/news/events"))
        async with listen("/channels/news/events") as events:
            await publish(client, "news", 1, 2)
            last = (await take(events, 2))[-1].id
        await publish(client, "news", *range(3, 260))
        async with listen("/channels/news/events", last=last) as events:
            await publish(client, "news", 260, 261)
            assert numbers_of(await take(events, 259)) == list(range(3, 262))
        async with listen("/channels/news/events", after="0") as events:
            assert numbers_of(await take(events, 261)) == list(range(1, 262))


async def test_catching_up_while_events_come_neither_loses_nor_doubles(
    client: httpx.AsyncClient, app: App, listen: Listen
) -> None:
    channel = app.channels["news"]

    async def flood() -> None:
        for number in range(600):
            await channel.publish({"n": number})

    flooding = asyncio.create_task(flood())
    last, heard = "0", list[int]()
    while len(heard) < 600:
        async with listen("/channels/news/events", last=last) as events:
            got = await take(events, min(150, 600 - len(heard)))
        heard += numbers_of(got)
        last = got[-1].id
    await flooding
    assert heard == list(range(600))


async def test_a_history_that_is_too_short_gives_a_resync(
    client: httpx.AsyncClient, listen: Listen
) -> None:
    [first] = await publish(client, "short", 0)
    await publish(client, "short", *range(1, 40))
    async with listen("/channels/short/events", last=first) as events:
        resync, oldest = await take(events, 2)
        assert (resync.type, resync.data) == ("resync", {"channel": "short"})
        rest = await take(events, 39 - oldest.data["n"])
    assert oldest.data["n"] > 1
    assert numbers_of([oldest, *rest]) == list(range(oldest.data["n"], 40))


async def test_a_listener_of_a_plain_channel_that_returns_is_told_to_resync(
    client: httpx.AsyncClient, listen: Listen, plain_channel: str, plain: redis.Redis
) -> None:
    async with listen(f"/channels/{plain_channel}/events", last="1-1") as events:
        plain.publish(plain_channel, '{"n":\r\n 1}')  # a foreign program, JSON over two lines
        resync, event = await take(events, 2)
    assert resync.type == "resync"
    assert (event.id, event.data) == ("", {"n": 1})


async def test_what_is_no_event_of_the_channel_is_skipped(
    client: httpx.AsyncClient, listen: Listen, plain_channel: str, plain: redis.Redis
) -> None:
    async with listen(f"/channels/{plain_channel}/events") as events:
        for junk in (b"junk", b'"\xff"', b'{"n": "x"}', b"\n\nevent: result\ndata: 1"):
            plain.publish(plain_channel, junk)
        plain.publish(plain_channel, '{"n": 1}')
        assert numbers_of(await take(events, 1)) == [1]


async def test_foreign_bytes_on_a_history_do_not_end_the_feed(
    client: httpx.AsyncClient, listen: Listen, namespace: str, plain: redis.Redis
) -> None:
    keys = ChannelKeys.of(namespace, "news")
    async with listen("/channels/news/events") as events:
        assert plain.publish(keys.live, "junk") == 1
        await publish(client, "news", 1)
        assert numbers_of(await take(events, 1)) == [1]


async def test_a_cut_connection_loses_no_event(
    client: httpx.AsyncClient, listen: Listen, app: App, plain: redis.Redis
) -> None:
    async with listen("/channels/news/events") as events:
        await publish(client, "news", 0)
        await take(events, 1)
        plain.client_kill_filter(_id=str(app.connections.pushes._link.client_id))
        await publish(client, "news", *range(1, 50))
        assert numbers_of(await take(events, 49)) == list(range(1, 50))


async def test_a_bad_position_is_400(client: httpx.AsyncClient) -> None:
    reply = await client.get("/channels/news/events", headers={"Last-Event-ID": "latest"})
    assert reply.status_code == 400
    assert reply.json()["error"] == "bad_position"


class SlowReader:
    """A client that asks for events and does not read them."""

    def __init__(self, url: str, path: str) -> None:
        address = urlsplit(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((address.hostname, address.port))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._socket.setblocking(False)
        self.close = self._socket.close

    async def wait_for_headers(self) -> None:
        await asyncio.get_running_loop().sock_recv(self._socket, 1)

    async def read_until(self, mark: bytes) -> bytes:
        heard = bytearray()
        async with asyncio.timeout(20):
            while mark not in heard:
                heard += await asyncio.get_running_loop().sock_recv(self._socket, 1 << 20)
        return bytes(heard)


@pytest.mark.parametrize("channel", ["news", "plain"])
async def test_a_slow_listener_delays_nobody_and_gets_back_on_its_feet(
    url: str,
    client: httpx.AsyncClient,
    listen: Listen,
    app: App,
    namespace: str,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_subscriber, "HELD_BYTES", 300_000)
    name = channel if channel == "news" else f"{namespace}.plain"
    count, weight = 300, 20_000  # 6 MB, more than the sockets' buffers and the queue hold
    slow = SlowReader(url, f"/channels/{name}/events")
    await slow.wait_for_headers()
    async with listen(f"/channels/{name}/events") as events:
        for number in range(count):
            await app.channels[name].publish({"n": number, "x" * weight: 0})
            assert numbers_of(await take(events, 1)) == [number]
        await app.channels[name].publish({"n": count, "last": 1})
        heard = await slow.read_until(b'"last"')
    slow.close()
    expected = list(range(count)) if channel == "news" else []
    got = [int(part.split(b",")[0]) for part in heard.split(b'data: {"n":')[1:-1]]
    if channel == "news":
        assert b"event: resync" not in heard
        assert got == expected
    else:
        assert b"event: resync" in heard
        assert got == sorted(set(got))
        assert len(got) < count
