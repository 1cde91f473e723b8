"""One connection: commands out in one write per loop tick, replies in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import hiredis

from castwork.redis.replies import RetryLater, error_of

_PENDING = object()

#: Kind of the push that stands for the error reply to a command which pushes answer.
REFUSED = b"refused"


class Call(NamedTuple):
    """A command on its way.

    Attributes:
        reply: gets the reply or an error.
        data: the packed command.
        deadline: loop time after which the caller no longer waits; 0 if there is no caller.
        idempotent: whether it may be sent again when its reply was lost.
        was_sent: whether it may have run already, on a connection that broke.
        refused: whether the server has said that it did nothing.
    """

    reply: asyncio.Future[Any]
    data: bytes
    deadline: float
    idempotent: bool
    was_sent: bool = False
    refused: bool = False


class Wire(asyncio.Protocol):
    """The protocol of one connection; a Link replaces it when it breaks.

    Args:
        on_push: called with each push frame.
        on_closed: called once, with the calls that got no reply.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_push: Callable[[list[Any]], None],
        on_closed: Callable[[Wire, list[Call]], None],
    ) -> None:
        self._loop = loop
        self._on_push = on_push
        self._on_closed = on_closed
        self._reader = hiredis.Reader(replyError=error_of, notEnoughData=_PENDING)
        self._transport: asyncio.Transport | None = None
        self._buffer: list[bytes] = []
        self.sent: deque[Call] = deque()
        #: Set by every byte that arrives, cleared by whoever watches for silence.
        self.heard = False
        self.is_closed = False
        #: Whether the server has said that it cannot serve now.
        self.unfit = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's, so this cannot be asserted.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, call: Call) -> None:
        """Send a command whose reply resolves the call."""
        self.sent.append(call)
        self.write(call.data)

    def write(self, data: bytes) -> None:
        """Send a command that is answered by a push only.

        A lone command is written at once; those that follow in the same tick are joined into
        one write at its end.
        """
        if self._buffer:
            self._buffer.append(data)
        elif len(self.sent) > 1:
            self._buffer.append(data)
            self._loop.call_soon(self._flush)
        elif self._transport is not None:
            self._transport.write(data)

    def join(self) -> None:
        """Have all commands of this tick go out in one write, the first one included."""
        if not self._buffer:
            self._buffer.append(b"")
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        self.heard = True
        gets, sent = self._reader.gets, self.sent
        self._reader.feed(data)
        try:
            while (reply := gets()) is not _PENDING:
                if type(reply) is hiredis.PushNotification:
                    self._on_push(reply)
                elif not isinstance(reply, Exception):
                    future = sent.popleft().reply
                    if not future.done():
                        future.set_result(reply)
                elif not self._refuse(reply):
                    return
        except (hiredis.ProtocolError, IndexError):
            self.abort()  # not RESP, or a reply that nobody asked for

    def _refuse(self, error: Exception) -> bool:
        """Hand an error reply to its caller, or give the connection up if it cannot serve."""
        if not self.sent:
            self._on_push([REFUSED, error])
            return True
        if isinstance(error, RetryLater) and self.sent:
            # Nothing was done, so the call may go out again whatever it is.
            self.sent[0] = self.sent[0]._replace(idempotent=True, refused=True)
            self.unfit = True
            self.abort()
            return False
        future = self.sent.popleft().reply
        if not future.done():
            future.set_exception(error)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.is_closed = True
        self._buffer.clear()
        unanswered = list(self.sent)
        self.sent.clear()
        self._on_closed(self, unanswered)

    def abort(self) -> None:
        """Drop the connection without waiting for the other side."""
        if self._transport is not None:
            self._transport.abort()
