"""A TCP proxy between a client and the server that spoils the connection on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

#: Replies of the handshake (HELLO, CLIENT SETNAME), which are never dropped.
_GREETING = 2

_AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}

#: The two ends of one connection: towards the client, towards the server.
Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


def end_of_reply(data: bytes, start: int = 0) -> int:
    """Where the RESP reply that begins at `start` ends, 0 if it is not complete."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return 0
    kind, head, at = data[start : start + 1], data[start + 1 : line], line + 2
    if kind in b"$=!" and head != b"-1":
        at += int(head) + 2
        return at if at <= len(data) else 0
    if kind in _AGGREGATES and head != b"-1":
        for _ in range(int(head) * _AGGREGATES[kind]):
            at = end_of_reply(data, at)
            if not at:
                return 0
    return at


class Proxy:
    """Listens on a port of 127.0.0.1 and forwards to the server.

    Attributes:
        drop_every: swallow each nth reply and cut its connection; 0 for none.
        closed: cut new connections at once.
        delay: seconds by which replies come later.
        dropped: replies swallowed so far.
    """

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._pairs: set[Pair] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._replies = 0
        self.drop_every = 0
        self._silenced: set[Pair] = set()
        self.closed = False
        self.delay = 0.0
        self.dropped = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def cut_all(self) -> int:
        """Cut every connection, and return how many there were."""
        pairs = list(self._pairs)
        for pair in pairs:
            _abort(*pair)
        return len(pairs)

    def silence(self) -> int:
        """Make a black hole of every connection there is; new ones work."""
        self._silenced |= self._pairs
        return len(self._pairs)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut_all()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            _abort(writer)
            return
        up = self._upstream
        try:
            if up.scheme == "unix":
                far_reader, far_writer = await asyncio.open_unix_connection(unquote(up.path))
            else:
                far_reader, far_writer = await asyncio.open_connection(up.hostname, up.port)
        except OSError:
            _abort(writer)
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        for pump in (self._forward(pair, reader), self._answer(pair, far_reader)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._ender(pair))

    def _ender(self, pair: Pair) -> Callable[[asyncio.Task[None]], None]:
        def end(task: asyncio.Task[None]) -> None:
            self._pumps.discard(task)
            self._pairs.discard(pair)
            self._silenced.discard(pair)
            _abort(*pair)
            if not task.cancelled():
                task.exception()

        return end

    async def _forward(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        _, writer = pair
        while data := await reader.read(65536):
            if pair not in self._silenced:
                writer.write(data)
                await writer.drain()

    async def _answer(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        writer, _ = pair
        rest, greeting = b"", _GREETING
        while data := await reader.read(65536):
            if pair in self._silenced:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            rest += data
            at = 0
            while end := end_of_reply(rest, at):
                if greeting:
                    greeting -= 1
                elif rest[at : at + 1] != b">" and self._spoils():
                    writer.write(rest[:at])
                    await writer.drain()
                    return
                at = end
            writer.write(rest[:at])
            rest = rest[at:]
            await writer.drain()

    def _spoils(self) -> bool:
        """Count a reply; tell whether it is one to swallow."""
        if not self.drop_every:
            return False
        self._replies += 1
        if self._replies % self.drop_every:
            return False
        self.dropped += 1
        return True


def _abort(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.transport.abort()
