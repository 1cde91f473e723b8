"""Server-sent events: how they are written, and the response that carries them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from castwork.gateway.errors import BadPosition

logger = logging.getLogger(__name__)

#: Seconds of silence after which a comment tells proxies that the stream lives.
KEEP_ALIVE = 15.0

_COMMENT = b":\n\n"

_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")

_POSITION = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")


def sse_frame(event: str, data: bytes, event_id: str = "") -> bytes:
    """Write one event.

    Args:
        event: its type; empty for the plain `message` of `EventSource.onmessage`.
        data: JSON; its line breaks, which can only stand between tokens, become spaces.
        event_id: what a client that reconnects sends as `Last-Event-ID`; empty for none.
    """
    head = f"id: {event_id}\n" if event_id else ""
    if event:
        head += f"event: {_one_line(event)}\n"
    return b"%sdata: %s\n\n" % (head.encode(errors="replace"), data.translate(_ONE_LINE))


def sse_position(event_id: str) -> bytes:
    """An id without an event: browsers note it as their `Last-Event-ID`, and call no handler."""
    return f"id: {event_id}\n\n".encode()


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def read_position(request: Request, after: str | None) -> str | None:
    """The id to go on behind: the `Last-Event-ID` of a reconnect, else `after`.

    Raises:
        BadPosition: what the client sent is no id.
    """
    return check_position(request.headers.get("last-event-id") or after)


def check_position(after: str | None) -> str | None:
    """Check an id from outside: two numbers of 64 bits, of which the second may be left out.

    Raises:
        BadPosition: what the client sent is no id.
    """
    if not after:
        return None
    numbers = after.split("-")
    if not _POSITION.fullmatch(after) or any(int(number) >= 2**64 for number in numbers):
        raise BadPosition(f"not the id of an event: {after[:100]!r}; it is as in `id:` lines")
    return after if len(numbers) == 2 else f"{after}-0"


class Streams:
    """The event streams that are open in this process.

    Event streams never end by themselves, so a server that waits for its requests would not stop:
    `close` ends the streams, and their clients reconnect with `Last-Event-ID`.
    """

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stream: asyncio.Task[None]) -> None:
        """Keep a stream until it ends."""
        self._open.add(stream)
        stream.add_done_callback(self._open.discard)
        if self._closed:
            stream.cancel()

    def close(self) -> None:
        """End every stream, and from now on each new one at once."""
        self._closed = True
        for stream in tuple(self._open):
            stream.cancel()


class EventStream(StreamingResponse):
    """A response of server-sent events, which ends when its client is gone.

    Args:
        pieces: the events, each piece whole.
        streams: where the stream is kept while it is open.
        close: frees what the pieces come from; called once, however the stream ends.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        streams: Streams,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(pieces, headers=_HEADERS)
        self._pieces = pieces
        self._streams = streams
        self._close = close
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end or the client is gone."""
        stream = asyncio.create_task(self._stream(send))
        gone = asyncio.create_task(_wait_until_gone(receive))
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await self._send(send, _COMMENT)  # proxies may hold headers back until a body comes
            self._streams.add(stream)
            await self._watch(stream, gone, send)
        except asyncio.CancelledError:
            pass  # the server stops, so this request ends in good order
        finally:
            stream.cancel()
            gone.cancel()
            await asyncio.gather(stream, gone, return_exceptions=True)
            self._close()
        if not gone.cancelled():
            return
        if not stream.cancelled() and (error := stream.exception()) is not None:
            logger.error("an event stream broke off", exc_info=error)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(
        self, stream: asyncio.Task[None], gone: asyncio.Task[None], send: Send
    ) -> None:
        """Wait for the end, and break the silence."""
        loop = asyncio.get_running_loop()
        while True:
            silence_ends = self._sent_at + KEEP_ALIVE
            done, _ = await asyncio.wait(
                {stream, gone},
                timeout=max(0.0, silence_ends - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done:
                return
            if loop.time() >= self._sent_at + KEEP_ALIVE:
                await self._send(send, _COMMENT)

    async def _stream(self, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await self._send(send, piece)

    async def _send(self, send: Send, piece: bytes) -> None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._sent_at = asyncio.get_running_loop().time()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
