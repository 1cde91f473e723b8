"""A bare connection: an `asyncio.Protocol` over hiredis that joins all calls of a loop tick into
one write.

No reconnect, no deadline, no TLS, no authentication: a floor, not a client.
"""

import asyncio
from collections import deque
from typing import Any
from urllib.parse import urlparse

import hiredis


class Link(asyncio.Protocol):
    """Replies come in the order of the calls."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(encoding=None)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(reply)

    def call(self, *command: Any) -> asyncio.Future[Any]:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(hiredis.pack_command(command))
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()


async def connect(url: str) -> Link:
    address = urlparse(url)
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(Link, address.hostname, address.port)
    return link
