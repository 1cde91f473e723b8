"""Ends of tasks are posted to a real server, signed, until it has taken them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from castwork import App, TaskStatus
from castwork.contrib.webhooks import post_ends, sign, verify

SECRET = b"0123456789abcdef01234567"


class Receiver:
    """An HTTP server that keeps what it is sent, and answers with statuses in turn."""

    def __init__(self, *statuses: int) -> None:
        self.url = ""
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self._statuses: Iterator[int] = iter(statuses)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ended"
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, value in (one.split(": ", 1) for one in head[1:-2])
        }
        body = await reader.readexactly(int(headers["content-length"]))
        status = next(self._statuses, 200)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await self.got.put((headers, body))


async def test_an_end_is_posted_until_it_is_taken(app: App) -> None:
    async with Receiver(503, 302).running() as receiver:
        post_ends(app, receiver.url, SECRET)

        @app.task(queue="q")
        async def add(a: int) -> int:
            return a + 1

        async with asyncio.timeout(30), app, app.worker(scheduler_interval=0.02):
            task = await add.options(labels={"chat": "c1"}).enqueue(2)
            posts = [await receiver.got.get() for _ in range(3)]
    for headers, body in posts:
        assert verify(SECRET, headers, body)
        assert headers["webhook-id"] == f"{task.id}:succeeded"
        told = json.loads(body)
        assert (told["task_id"], told["status"], told["result"]) == (task.id, "succeeded", 3)
        assert (told["arguments"], told["labels"]) == ({"a": 2}, {"chat": "c1"})


async def test_some_ends_go_where_a_function_says(app: App) -> None:
    async with Receiver().running() as receiver:

        def where(status: TaskStatus) -> str | None:
            return receiver.url if status.labels else None

        post_ends(app, where, SECRET, "failed", "dead")

        @app.task(queue="q", attempts=1)
        async def divide(a: int) -> float:
            return 1 / a

        async with asyncio.timeout(30), app, app.worker():
            await divide.options(labels={"a": "b"}).enqueue(1)
            await divide.enqueue(0)
            dead = await divide.options(labels={"a": "b"}).enqueue(0)
            _, body = await receiver.got.get()
    told = json.loads(body)
    assert (told["task_id"], told["status"]) == (dead.id, "dead")
    assert told["error"]["type"] == "ZeroDivisionError"
    assert receiver.got.empty()


def test_only_the_secret_signs() -> None:
    headers = sign(SECRET, "msg_1", b'{"a":1}')
    assert verify(SECRET, headers, b'{"a":1}')
    assert verify(
        SECRET, headers | {"webhook-signature": f"v1,x {headers['webhook-signature']}"}, b'{"a":1}'
    )
    assert not verify(SECRET, headers, b'{"a":2}')
    assert not verify(SECRET[::-1], headers, b'{"a":1}')
    assert not verify(SECRET, headers | {"webhook-id": "msg_2"}, b'{"a":1}')
    assert not verify(SECRET, headers | {"webhook-signature": "v1,\u00e4"}, b'{"a":1}')
    assert not verify(SECRET, {}, b"")
    old = sign(SECRET, "msg_1", b"{}", now=1_000_000)
    assert not verify(SECRET, old, b"{}")
    assert verify(SECRET, old, b"{}", tolerance=1e12)


def test_a_short_secret_is_refused(app: App) -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        post_ends(app, "http://127.0.0.1:1/", b"short")
