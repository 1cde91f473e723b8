"""Servers that cannot be used: one typed error that names the address, and soon."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import redis
from tests.faults.sample_app import QUICK as QUICKLY
from tests.faults.sample_app import build
from tests.proxy import Proxy

from castwork import App, AppSettings, LinkSettings
from castwork.embedded import EmbeddedServer
from castwork.model.errors import AuthenticationFailed, EffectUnknown, ServerUnavailable

QUICK = AppSettings(link=LinkSettings(connect_timeout=0.5))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def locked() -> Iterator[EmbeddedServer]:
    """A server that wants a password."""
    with EmbeddedServer(port=0) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "open sesame")
        yield server


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
async def test_refused_login_is_told(locked: EmbeddedServer, login: str) -> None:
    app = App(locked.url.replace("://", f"://{login}"))
    with pytest.raises(AuthenticationFailed, match="NOAUTH|WRONGPASS"):
        await app.open()
    await app.close()


async def test_right_password_is_taken(locked: EmbeddedServer) -> None:
    app = build(locked.url.replace("://", "://:open%20sesame@"), "locked")
    task = await app.tasks.get("bounded").enqueue(1)
    async with app.worker(["bounded"], lease=1.0):
        assert await task.result(timeout=10) == 1
    await app.close()


@pytest.mark.parametrize("form", ["redis://127.0.0.1:{port}", "unix:///nowhere/socket{port}"])
async def test_absent_server_is_told_with_its_address(form: str) -> None:
    url = form.format(port=free_port())
    app = App(url)
    with pytest.raises(ServerUnavailable) as told:
        await app.open()
    assert url.removeprefix("redis://") in str(told.value)
    await app.close()


@asynccontextmanager
async def answering(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A TCP server that is no Redis; yields its port."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def says_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await writer.drain()
    await reader.read()
    writer.close()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def hangs_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("answer", [says_http, says_nothing, hangs_up])
async def test_server_that_is_no_redis_is_told_within_the_timeout(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with answering(answer) as port:
        app = App(f"redis://127.0.0.1:{port}", settings=QUICK)
        async with asyncio.timeout(10):
            with pytest.raises(ServerUnavailable, match=f"127.0.0.1:{port}"):
                await app.open()
        await app.close()


async def test_app_that_failed_to_open_opens_when_the_server_is_there() -> None:
    port = free_port()
    app = App(f"redis://127.0.0.1:{port}")
    with pytest.raises(ServerUnavailable):
        await app.open()
    with EmbeddedServer(port=port):
        await app.open()
        assert app.connections.is_open
        await app.close()


async def test_plain_publish_whose_reply_is_lost_says_so(proxy: Proxy, namespace: str) -> None:
    app = build(proxy.url, namespace)
    orders = app.channels[f"{namespace}:orders"]
    await orders.publish({"order": 1})
    proxy.drop_every = 1
    with pytest.raises(EffectUnknown):
        await orders.publish({"order": 2})
    proxy.drop_every = 0
    assert (await orders.publish({"order": 3})).subscribers == 0
    await app.close()


async def test_call_without_a_connection_ends_at_its_deadline(proxy: Proxy, namespace: str) -> None:
    app = build(proxy.url, namespace, link=LinkSettings(call_timeout=0.5, backoff=QUICKLY))
    count = app.tasks.get("count")
    await count.enqueue(1)
    proxy.closed = True
    proxy.cut_all()
    before = time.monotonic()
    with pytest.raises(ConnectionError):
        await count.enqueue(2)
    assert time.monotonic() - before >= 0.5
    proxy.closed = False
    await count.enqueue(3)
    await app.close()
