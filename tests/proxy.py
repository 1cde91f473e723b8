"""A TCP proxy between a client and the server that spoils the connection on demand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import hiredis

#: Commands of the handshake, whose replies are never dropped.
_GREETINGS = {b"HELLO", b"CLIENT", b"AUTH", b"SELECT"}

#: Commands that RESP3 answers with pushes, and with no reply.
_PUSHED = {
    *(b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"),
    *(b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"),
}

_AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}


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


class Connection:
    """One connection through the proxy, and the commands that wait for a reply on it."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.is_silent = False
        #: Names of the commands that were sent and not answered, in order.
        self.unanswered: deque[bytes] = deque()
        self._requests = hiredis.Reader()

    def note(self, data: bytes) -> None:
        """Note the commands in what the client sent."""
        self._requests.feed(data)
        while (command := self._requests.gets()) is not False:
            name = bytes(command[0]).upper()
            if name not in _PUSHED:
                self.unanswered.append(name)

    def answered(self) -> bytes:
        """The command that a reply is for; nothing for the refusal of a subscription."""
        return self.unanswered.popleft() if self.unanswered else b""

    def abort(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()


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
        self._connections: set[Connection] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._replies = 0
        self._next_of: bytes | None = None
        self.drop_every = 0
        self.closed = False
        self.delay = 0.0
        self.dropped = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def cut_all(self) -> int:
        """Cut every connection, and return how many there were."""
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        return len(connections)

    def silence(self) -> int:
        """Make a black hole of every connection there is; new ones work."""
        for connection in self._connections:
            connection.is_silent = True
        return len(self._connections)

    def waits_for(self, command: str) -> bool:
        """Whether a client waits for the reply to such a command right now."""
        name = command.encode()
        return any(c.unanswered and c.unanswered[0] == name for c in self._connections)

    def drop_next(self, command: str) -> None:
        """Swallow the next reply to such a command, of any connection, and cut it there."""
        self._next_of = command.encode()

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
            writer.transport.abort()
            return
        up = self._upstream
        try:
            if up.scheme == "unix":
                far_reader, far_writer = await asyncio.open_unix_connection(unquote(up.path))
            else:
                far_reader, far_writer = await asyncio.open_connection(up.hostname, up.port)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, far_writer)
        self._connections.add(connection)
        for pump in (self._forward(connection, reader), self._answer(connection, far_reader)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._ender(connection))

    def _ender(self, connection: Connection) -> Callable[[asyncio.Task[None]], None]:
        def end(task: asyncio.Task[None]) -> None:
            self._pumps.discard(task)
            self._connections.discard(connection)
            connection.abort()
            if not task.cancelled():
                task.exception()

        return end

    async def _forward(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            if not connection.is_silent:
                connection.note(data)
                connection.far.write(data)
                await connection.far.drain()

    async def _answer(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        writer = connection.near
        rest = b""
        while data := await reader.read(65536):
            if connection.is_silent:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            rest += data
            at = 0
            while end := end_of_reply(rest, at):
                if rest[at : at + 1] != b">" and self._spoils(connection.answered()):
                    writer.write(rest[:at])
                    await writer.drain()
                    return
                at = end
            writer.write(rest[:at])
            rest = rest[at:]
            await writer.drain()

    def _spoils(self, command: bytes) -> bool:
        """Count the reply to a command; tell whether it is one to swallow."""
        if command in _GREETINGS:
            return False
        if command == self._next_of:
            self._next_of = None
        elif not self.drop_every:
            return False
        else:
            self._replies += 1
            if self._replies % self.drop_every:
                return False
        self.dropped += 1
        return True
