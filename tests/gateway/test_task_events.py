"""Following a task: every event once, and no trace when the client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
import redis
from tests.eventually import eventually
from tests.gateway.conftest import Event, Gates, Listen, serving, take, take_all
from tests.gateway.test_tasks import enqueue

from castwork import App
from castwork.gateway import create_gateway, sse


def text_of(events: list[Event]) -> str:
    return "".join(event.data for event in events if event.type == "chunk")


async def test_a_task_is_followed_to_its_result(
    client: httpx.AsyncClient, worker: None, listen: Listen, gates: Gates
) -> None:
    task_id = await enqueue(client, "spell", word="castwork", pause=True)
    async with listen(f"/tasks/{task_id}/events") as events:
        head: list[Event] = []
        while text_of(head) != "ca":
            head += await take(events, 1)
        gates.open.set()
        rest = await take_all(events)
    assert head[0].type == "status"
    assert [event.id for event in head + rest if event.type == "chunk"] == [
        f"1-{n}" for n in range(1, 9)
    ]
    assert text_of(head + rest) == "castwork"
    assert rest[-1].type == "result"
    assert rest[-1].data["status"] == "succeeded"
    assert rest[-1].data["result"] == "castwork"
    assert rest[-1].id == ""


@pytest.mark.usefixtures("worker")
async def test_progress_and_a_new_attempt_are_told(
    client: httpx.AsyncClient, listen: Listen
) -> None:
    task_id = await enqueue(client, "stumble", word="hello")
    async with listen(f"/tasks/{task_id}/events") as events:
        heard = [event for event in await take_all(events) if event.type != "status"]
    assert [(event.type, event.id) for event in heard] == [
        ("progress", "1-1"),
        ("chunk", "1-2"),
        ("reset", "2-0"),
        ("progress", "2-1"),
        ("chunk", "2-2"),
        ("chunk", "2-3"),
        ("result", ""),
    ]
    assert heard[0].data == {"done": 0.5, "message": "half"}
    assert heard[-1].data["attempts"] == 2


async def test_a_task_whose_last_reader_has_left_is_cancelled(
    app: App, client: httpx.AsyncClient, worker: None, listen: Listen
) -> None:
    app.tasks.get("spell").store.watches.lease = 0.5
    body = {"word": "castwork", "pause": True}
    answer = await client.post("/tasks/spell?cancel_on_disconnect=true", json=body)
    path = f"/tasks/{answer.json()['task_id']}"
    async with listen(f"{path}/events") as events:
        await take(events, 2)

    async def is_cancelled() -> bool:
        told = (await client.get(path)).json()
        return bool(told["status"] == "cancelled") and "disconnect" in told["error"]["message"]

    await eventually(is_cancelled)


@pytest.mark.parametrize("as_header", [True, False])
async def test_a_reader_goes_on_exactly_where_it_was(
    client: httpx.AsyncClient, worker: None, listen: Listen, gates: Gates, as_header: bool
) -> None:
    task_id = await enqueue(client, "spell", word="abcdefghij", pause=True)
    path = f"/tasks/{task_id}/events"
    heard: list[Event] = []
    async with listen(path) as events:
        while text_of(heard) != "ab":
            heard += await take(events, 1)
    gates.open.set()
    for last in ("1-2", "1-5", "1-10"):
        known = [event for event in heard if event.type == "chunk"]
        known = known[: int(last.partition("-")[2])]
        resumed = listen(path, last=last) if as_header else listen(path, after=last)
        async with resumed as events:
            rest = await take_all(events)
        heard = [*known, *rest]
        assert text_of(heard) == "abcdefghij"


async def test_the_header_counts_before_the_query(
    client: httpx.AsyncClient, worker: None, listen: Listen
) -> None:
    task_id = await enqueue(client, "spell", word="abcd")
    await client.get(f"/tasks/{task_id}?wait=10")
    async with listen(f"/tasks/{task_id}/events", last="1-3", after="1-1") as events:
        assert text_of(await take_all(events)) == "d"


@pytest.mark.parametrize("last", ["x", "1-", "-1", "1-2-3", "²-1", f"{2**64}-0", "1-1 "])
async def test_a_bad_position_is_400(client: httpx.AsyncClient, last: str) -> None:
    task_id = await enqueue(client, "add", a=1)
    reply = await client.get(f"/tasks/{task_id}/events", params={"after": last})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"] == "bad_position"


async def test_a_client_that_goes_leaves_no_subscription(
    client: httpx.AsyncClient, listen: Listen, subscriptions: Callable[[], list[str]]
) -> None:
    task_id = await enqueue(client, "add", a=1)
    async with listen(f"/tasks/{task_id}/events") as events:
        await take(events, 1)
        async with listen(f"/tasks/{task_id}/events") as others:
            await take(others, 1)
            assert len(subscriptions()) == 2  # its output and its record, shared by both
        assert len(subscriptions()) == 2
    await eventually(lambda: subscriptions() == [])


async def test_silence_is_broken_by_comments(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.05)
    task_id = await enqueue(client, "add", a=1)
    async with client.stream("GET", f"/tasks/{task_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        comments = 0
        async with asyncio.timeout(10):
            async for line in response.aiter_lines():
                comments += line == ":"
                if comments == 4:
                    break


async def test_an_entry_without_a_record_is_followed(
    app: App, client: httpx.AsyncClient, listen: Listen, plain: redis.Redis, namespace: str
) -> None:
    @app.task(stream=f"{namespace}:orders", group="g")
    async def order(n: int) -> int:
        return n * 2

    plain.xadd(f"{namespace}:orders", {"n": 21}, id="7-1")
    task_id = f"{namespace}:orders:g:7-1"
    async with listen(f"/tasks/{task_id}/events") as events, app.worker():
        heard = await take_all(events)
    assert heard[-1].data["result"] == 42


async def test_a_stream_goes_on_when_the_connections_were_cut(
    client: httpx.AsyncClient,
    worker: None,
    listen: Listen,
    gates: Gates,
    plain: redis.Redis,
    app: App,
) -> None:
    task_id = await enqueue(client, "spell", word="abcdef", pause=True)
    async with listen(f"/tasks/{task_id}/events") as events:
        heard: list[Event] = []
        while text_of(heard) != "ab":
            heard += await take(events, 1)
        plain.client_kill_filter(_id=str(app.connections.pushes._link.client_id))
        gates.open.set()
        heard += await take_all(events)
    assert text_of(heard) == "abcdef"


async def test_closing_the_streams_ends_them_cleanly(app: App) -> None:
    gateway = create_gateway(app)
    async with serving(gateway) as url, httpx.AsyncClient(base_url=url) as client:
        task_id = await enqueue(client, "add", a=1)
        async with client.stream("GET", f"/tasks/{task_id}/events") as response:
            lines = response.aiter_lines()
            await anext(lines)
            gateway.state.streams.close()
            async with asyncio.timeout(10):  # a body that broke off would raise
                assert [line async for line in lines]
        await eventually(lambda: len(gateway.state.streams) == 0)


@pytest.mark.parametrize("path", ["/tasks/{}/events", "/channels/news/events"])
async def test_clients_that_go_at_once_leave_no_subscription(
    url: str, client: httpx.AsyncClient, subscriptions: Callable[[], list[str]], path: str
) -> None:
    task_id = await enqueue(client, "add", a=1)
    host, _, port = url.removeprefix("http://").partition(":")
    for number in range(60):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path.format(task_id)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await writer.drain()
        for _ in range(number % 12):  # at each stage of the request
            await asyncio.sleep(0)
        writer.transport.abort()
    # One that stays shows that the others were served by now.
    async with client.stream("GET", path.format(task_id)) as response:
        await anext(response.aiter_lines())
        assert response.status_code == 200
    await eventually(lambda: subscriptions() == [])


async def test_a_server_that_stops_ends_its_streams_without_a_traceback(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with httpx.AsyncClient() as client:
        async with serving(create_gateway(app)) as url:
            reply = await client.post(f"{url}/tasks/add", json={"a": 1})
            path = f"{url}/tasks/{reply.json()['task_id']}/events"
            response = await client.send(client.build_request("GET", path), stream=True)
            lines = response.aiter_lines()
            await anext(lines)
        async with asyncio.timeout(10):  # a body that broke off would raise
            assert [line async for line in lines]
    assert "Cancel 1 running task" in caplog.text
    assert "Traceback" not in caplog.text
