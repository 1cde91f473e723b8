"""Items that castwork did not write, in each of its keys: work, subscribers and pages go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis
from tests.eventually import eventually

from castwork import App, AppSettings, TaskState, current
from castwork.gateway import create_gateway

DEEP = b"[" * 5000 + b"]" * 5000

MALFORMED = [
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"v":1}',
    DEEP,
    b"\x1b[31mred",
    b'"' + b"9" * 400 + b'"',
    b'{"at":1e400}',
    b"9" * 400,
]

#: The ends of the names of keys that must be there to be spoilt.
KEYS = {
    "due", "parked", "dead", "letters", "sent", "high", "normal", "low",
    "history", "members", "positions", "register", "info",
}  # fmt: skip


class Program:
    """An app with some of everything, in this process."""

    def __init__(self, url: str, namespace: str) -> None:
        self.app = app = App(url, settings=AppSettings(namespace=namespace))
        self.heard: list[dict[str, int]] = []
        self.news = app.channel("news", dict[str, int], history=100)
        self.level = app.setting("level", int, default=1)

        @app.task(queue="q")
        async def add(a: int, b: int) -> int:
            await current().progress(1)
            return a + b

        @app.task(queue="q", attempts=1)
        async def fail() -> int:
            raise ValueError("no")

        @self.news.subscribe
        async def hear(event: dict[str, int]) -> None:
            self.heard.append(event)

        self.add, self.fail = add, fail

    async def fill(self) -> list[str]:
        """Use everything; returns the ids of tasks."""
        await self.add.options(delay=3600).enqueue(1, 1)
        named = await self.add.options(id="mine").enqueue(1, 2)
        sum_, dead = await self.add.enqueue(1, 2), await self.fail.enqueue()
        assert await sum_.result(timeout=10) == 3
        assert (await dead.wait(timeout=10)).status is TaskState.DEAD
        await self.news.publish({"a": 1})
        await self.level.set(2)
        await eventually(lambda: self.heard and self.level.value == 2)
        return [named.id, sum_.id, dead.id]


@pytest.fixture
async def program(server_url: str, namespace: str) -> AsyncIterator[Program]:
    made = Program(server_url, namespace)
    async with made.app, made.app.worker(scheduler_interval=0.05, heartbeat=0.05):
        yield made


def spoil(plain: redis.Redis, namespace: str) -> set[str]:
    """Add items to every key, as somebody with redis-cli might; returns the ends of their names."""
    keys = [key for key in plain.scan_iter(f"{{{namespace}:*") if plain.type(key) != b"string"]
    for key in keys:
        add = _ADD[plain.type(key)]
        for number, item in enumerate(MALFORMED):
            add(plain, key, b"item-%d" % number, item)
    for channel in (*keys, *(f"{{{namespace}:{name}" for name in _CHANNELS)):
        for item in MALFORMED:
            plain.publish(channel, item)
    return {key.decode().rpartition(":")[2] for key in keys}


_CHANNELS = ("news}", "q}:control", "q}:told", "setting:level}", "setting:level}:applied")


def _add_to_hash(plain: redis.Redis, key: bytes, name: bytes, item: bytes) -> None:
    plain.hset(key, mapping={name: item, item[:100]: item})  # type: ignore[arg-type]
    if key.endswith(b":parked"):
        plain.zadd(key.replace(b":parked", b":due"), {name: 1})


def _add_to_set(plain: redis.Redis, key: bytes, name: bytes, item: bytes) -> None:
    plain.zadd(key, {item[:100]: 1, b"infinite-" + name: float("inf"), b"-" + name: -1e300})


def _add_to_stream(plain: redis.Redis, key: bytes, name: bytes, item: bytes) -> None:
    entries: list[dict[bytes, bytes]] = [
        {item[:100]: item},
        {b"call": item},
        {b"call": b"add - " + item, b"meta": item},
        {b"task": b"add", b"args": item, b"id": item[:100]},
        {b"v": b"1", b"id": item, b"attempts": item, b"errors": item, b"lane": item},
        {b"previous": item, b"event": item, b"data": item},
    ]
    for entry in entries:
        plain.xadd(key, entry)  # type: ignore[arg-type]


_ADD: dict[bytes, Any] = {b"hash": _add_to_hash, b"zset": _add_to_set, b"stream": _add_to_stream}


async def test_whatever_lies_in_its_keys_castwork_goes_on(
    program: Program, server_url: str, plain: redis.Redis, namespace: str
) -> None:
    ids = await program.fill()
    assert spoil(plain, namespace) >= KEYS
    plain.set(f"{{{namespace}:q}}:task:odd", DEEP)

    assert await (await program.add.enqueue(2, 3)).result(timeout=30) == 5
    await program.news.publish({"a": 2})
    await program.level.set(7)
    await eventually(lambda: program.heard[-1:] == [{"a": 2}] and program.level.value == 7)
    await _pages_answer(program.app, [*ids, "q-odd", "odd"])

    late = Program(server_url, namespace)
    async with late.app:
        assert late.level.value == 7
        async with asyncio.timeout(10):
            async for event in late.news.listen(after="0"):
                if getattr(event, "value", None) == {"a": 2}:
                    break


async def _pages_answer(app: App, ids: list[str]) -> None:
    transport = httpx.ASGITransport(create_gateway(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client:
        for page in ("queues", "workers", "dead?limit=1000", "metrics", "readyz"):
            assert (await client.get(f"/{page}")).status_code == 200
        for task_id in ids:
            assert (await client.get(f"/tasks/{task_id}")).status_code in (200, 404, 409)
