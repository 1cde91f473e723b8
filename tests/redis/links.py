"""Links for the transport's tests, and servers with options of their own or made up."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import hiredis
import redis
from tests.eventually import wait_until

from castwork.embedded.binary import find_binary
from castwork.model.credentials import Credentials
from castwork.model.settings import LinkSettings
from castwork.redis.address import parse_url
from castwork.redis.link import Link
from castwork.redis.login import Login
from castwork.redis.topology import Single

QUICK = LinkSettings(call_timeout=5, ping_interval=0.5, ping_timeout=0.5)

#: Script: refuses the first ARGV[1] runs with the error ARGV[2], then returns how often it ran.
REFUSES = (
    "local n = redis.call('INCR', KEYS[1])"
    " if n <= tonumber(ARGV[1]) then return redis.error_reply(ARGV[2]) end return n"
)


def link_to(url: str, *, login: Login | None = None, name: str = "test") -> Link:
    """A link to one server, not open yet."""
    target = parse_url(url)
    if login is None:
        fixed = Credentials(target.username, target.password) if target.password else None
        login = Login(fixed)
    topology = Single(target, QUICK, login)
    return Link(lambda: topology.find(0), QUICK, login, target=target, name=name)


def lost(link: Link) -> asyncio.Event:
    """Set when the link loses its connection next."""
    event = asyncio.Event()
    link.on_lost.append(event.set)
    return event


def connected(link: Link) -> asyncio.Event:
    """Set when the link has a connection next."""
    event = asyncio.Event()
    link.on_connected.append(event.set)
    return event


@contextmanager
def server_with(binary: str | Path, **options: str) -> Iterator[str]:
    """A server with options of its own, on a Unix socket; yields its URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "socket"
        given = {"port": "0", "unixsocket": str(path), "save": "", "dir": folder}
        given |= {name.replace("_", "-"): value for name, value in options.items()}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        server = subprocess.Popen([str(binary), *words], stdout=subprocess.DEVNULL)
        try:
            url = f"unix://{path}"
            wait_until(lambda: _answers(url), "the server answers")
            yield url
        finally:
            server.terminate()
            server.wait()


@contextmanager
def fresh_cluster() -> Iterator[str]:
    """A cluster of one node, given all slots a moment ago: CLUSTERDOWN for its first 2 s."""
    options = {"cluster_enabled": "yes", "cluster_port": str(free_port())}
    with server_with(find_binary(), **options) as url:
        with redis.Redis.from_url(url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        yield url


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client, suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


#: Answers the words of one command with RESP; None closes the connection instead.
Handler = Callable[[list[bytes]], bytes | None]

HELLO = b"%2\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"


@asynccontextmanager
async def fake_server(handle: Handler) -> AsyncIterator[str]:
    """A server that greets, and answers as `handle` says; yields its URL."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while words := parser.gets():
                answer = {b"HELLO": HELLO, b"CLIENT": b"+OK\r\n"}.get(words[0]) or handle(words)
                if answer is None:
                    writer.transport.abort()
                    return
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
