"""A gateway on a real socket, in the loop of the test, before a real Valkey."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import redis
import uvicorn
from fastapi import FastAPI
from tests.eventually import eventually

from castwork import App, AppSettings, Backoff, Discard, LinkSettings, current
from castwork.gateway import create_gateway


class Server(uvicorn.Server):
    """A server that leaves the signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(gateway: FastAPI) -> AsyncIterator[str]:
    """Serve an app on a free port of 127.0.0.1; yields its URL."""
    made = socket.create_server(("127.0.0.1", 0))
    # Anew from its descriptor, so that it knows its protocol: asyncio sets TCP_NODELAY on the
    # connections of such a listener only, and every answer would take 40 ms longer without.
    listener = socket.socket(fileno=made.detach())
    config = uvicorn.Config(gateway, log_config=None, timeout_graceful_shutdown=1)
    server = Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started or running.done())
        if running.done():
            running.result()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


@dataclass
class Event:
    """A server-sent event."""

    type: str
    id: str
    data: Any


async def read_events(response: httpx.Response) -> AsyncIterator[Event]:
    """Read the events of a stream."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.strip()
        elif "data" in fields:
            data = json.loads(fields["data"])
            yield Event(fields.get("event", "message"), fields.get("id", ""), data)
            fields = {}
        else:
            fields = {}


Listen = Callable[..., AbstractAsyncContextManager[AsyncIterator[Event]]]


@dataclass
class Gates:
    """What the tests hold tasks back with."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    tries: int = 0


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
async def app(server_url: str, namespace: str, gates: Gates) -> AsyncIterator[App]:
    """An app with a task function and a channel of each kind."""
    link = LinkSettings(call_timeout=1.0, backoff=Backoff(base=0.02, longest=0.1))
    made = App(server_url, settings=AppSettings(namespace=namespace, link=link))
    declare(made, gates)
    yield made
    await made.close()


def declare(app: App, gates: Gates) -> None:
    """Declare what the tests use."""
    app.queue("narrow", max_depth=2)

    @app.task
    async def add(a: int, b: int = 1) -> int:
        """Adds two numbers."""
        return a + b

    @app.task
    async def spell(word: str, pause: bool = False) -> AsyncIterator[str]:
        for number, letter in enumerate(word):
            if pause and number == 2:
                await gates.open.wait()
            yield letter

    @app.task(attempts=2, backoff=Backoff(base=0.01, longest=0.02))
    async def stumble(word: str) -> AsyncIterator[str]:
        await current().progress(0.5, "half")
        yield word[0]
        gates.tries += 1
        if gates.tries == 1:
            raise OSError("stumbled")
        yield word[1:]

    @app.task(attempts=1)
    async def fail() -> None:
        raise OSError("never works")

    @app.task
    async def refuse() -> None:
        raise Discard("not this one")

    @app.task
    async def wait() -> str:
        await gates.open.wait()
        return "done"

    @app.task(queue="narrow")
    async def idle() -> None:
        pass

    app.channel("news", dict[str, int], history=1000)
    app.channel("short", dict[str, int], history=8)
    app.channel(f"{app.settings.namespace}.plain", dict[str, int])


@pytest.fixture
async def url(app: App) -> AsyncIterator[str]:
    """The URL of a gateway of the app."""
    async with serving(create_gateway(app)) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
async def worker(app: App, url: str) -> AsyncIterator[None]:
    """A worker of the app, beside the gateway."""
    async with app.worker(heartbeat=0.1):
        yield


@pytest.fixture
def listen(client: httpx.AsyncClient) -> Listen:
    """Opens event streams; what it yields iterates over events."""

    @asynccontextmanager
    async def listen(
        path: str, *, last: str | None = None, **params: str
    ) -> AsyncIterator[AsyncIterator[Event]]:
        headers = {"Last-Event-ID": last} if last else {}
        async with client.stream("GET", path, headers=headers, params=params) as response:
            if response.status_code != 200:
                await response.aread()
            assert response.status_code == 200, response.text
            async with aclosing(read_events(response)) as events:  # type: ignore[type-var]
                yield events

    return listen


async def take(events: AsyncIterator[Event], count: int) -> list[Event]:
    """Take so many events."""
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def take_all(events: AsyncIterator[Event]) -> list[Event]:
    """Take the events until the stream ends."""
    async with asyncio.timeout(10):
        return [event async for event in events]


@pytest.fixture
def subscriptions(plain: redis.Redis, namespace: str) -> Callable[[], list[str]]:
    """Tells what the processes of this namespace are subscribed to, as the server sees it."""

    def look() -> list[str]:
        names = [bytes(name).decode() for name in plain.pubsub_channels()]  # type: ignore[arg-type]
        return [name for name in names if namespace in name and ":control" not in name]

    return look
