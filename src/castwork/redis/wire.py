"""One connection: commands out in one write per loop tick, replies in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis
import msgspec

from castwork.redis.replies import CannotServe, NothingDone, error_of

_PENDING = object()

#: Seconds that a server which cannot serve gets to answer what it was sent before.
_DRAIN = 0.25

#: Bytes read from the socket at once.
_READ_AT_ONCE = 131_072


class Answer(Protocol):
    """What takes the answer to a command: an asyncio future, or an object that does less."""

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def set_result(self, result: Any, /) -> None:
        """Take the reply."""

    def set_exception(self, exception: Exception, /) -> None:
        """Take the error."""


class Nobody:
    """Takes no answer: the reply to a PING of the link itself is thrown away."""

    def done(self) -> bool:
        """Always True: nobody waits."""
        return True

    def set_result(self, result: Any, /) -> None:
        """Not called."""

    def set_exception(self, exception: Exception, /) -> None:
        """Not called."""


class OutOfStep(Exception):
    """An answer came that belongs to no command that was sent."""


class Marker:
    """Stands for a SUBSCRIBE or UNSUBSCRIBE among the commands sent.

    A push answers such a command, or an error reply: the marker keeps its turn among the others.

    Args:
        push: kind and name of the push that says that the command was done.
        on_answer: called with None when the command was done, else with the server's error.
    """

    __slots__ = ("_on_answer", "push")

    def __init__(self, push: list[bytes], on_answer: Callable[[Exception | None], None]) -> None:
        self.push = push
        self._on_answer = on_answer

    def done(self) -> bool:
        """Always False: a subscription has no caller with a deadline."""
        return False

    def set_result(self, result: Any, /) -> None:
        """Take the push, as None; a reply in its stead is out of step."""
        if result is not None:
            raise OutOfStep(f"a reply where the push {self.push} was due")
        self._on_answer(None)

    def set_exception(self, exception: Exception, /) -> None:
        """Take the error reply."""
        self._on_answer(exception)


class Call(msgspec.Struct, gc=False):
    """A command on its way.

    Attributes:
        reply: gets the reply or an error.
        data: the packed command.
        deadline: loop time after which the caller no longer waits; 0 if there is no caller.
        idempotent: whether it may be sent again when its reply was lost.
        was_sent: whether it may have run already, on a connection that broke.
        refusal: the last error by which the server said that it did nothing.
        refusals: how often in a row the server has refused it for now.
    """

    reply: Answer
    data: bytes
    deadline: float
    idempotent: bool
    was_sent: bool = False
    refusal: Exception | None = None
    refusals: int = 0


class Wire(asyncio.BufferedProtocol):
    """The protocol of one connection; a Link replaces it when it breaks.

    Args:
        on_push: called with each push frame that answers no command.
        on_refused: called with a call and the refusal that says that nothing was done; returns
            True when the call will be sent again, else the caller gets the error.
        on_cannot_serve: called when the server has said that it cannot serve. The connection
            ends when all that was sent is answered, or a moment later; send nothing more.
        on_closed: called once, with the calls that got no reply.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_push: Callable[[list[Any]], None],
        on_refused: Callable[[Call, NothingDone], bool],
        on_cannot_serve: Callable[[Wire], None],
        on_closed: Callable[[Wire, list[Call]], None],
    ) -> None:
        self._loop = loop
        self._on_push = on_push
        self._on_refused = on_refused
        self._on_cannot_serve = on_cannot_serve
        self._on_closed = on_closed
        self._reader = hiredis.Reader(replyError=error_of, notEnoughData=_PENDING)
        # A buffer of our own: asyncio would allocate 256 KiB anew for each read. The buffer is a
        # memoryview because asyncio's TLS slices it; hiredis' stubs do not know memoryviews.
        self._received: Any = memoryview(bytearray(_READ_AT_ONCE))
        self._transport: asyncio.Transport | None = None
        self._buffer: list[bytes] = []
        self._not_served: list[Call] = []
        self._drain: asyncio.TimerHandle | None = None
        self.sent: deque[Call] = deque()
        #: Set by every byte that arrives, cleared by `Watch` when it looks.
        self.heard = False
        self.is_closed = False
        #: Whether the server has said that it cannot serve now.
        self.cannot_serve = False
        #: Why the connection was given up, as far as it is known.
        self.reason: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's, so this cannot be asserted.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, call: Call) -> None:
        """Send a command whose answer goes to `call.reply`.

        A lone command is written at once; the commands that follow in the same tick of the loop
        are joined into one write at the tick's end.
        """
        self.sent.append(call)
        if self._buffer:
            self._buffer.append(call.data)
        elif len(self.sent) > 1:
            self._buffer.append(call.data)
            self._loop.call_soon(self._flush)
        elif self._transport is not None:
            self._transport.write(call.data)

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def get_buffer(self, sizehint: int) -> Any:
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        self.heard = True
        gets, sent = self._reader.gets, self.sent
        self._reader.feed(self._received, 0, nbytes)
        try:
            while (reply := gets()) is not _PENDING:
                if type(reply) is hiredis.PushNotification:
                    self._push(reply)
                elif not isinstance(reply, Exception):
                    answer = sent.popleft().reply
                    if not answer.done():
                        answer.set_result(reply)
                else:
                    self._refuse(reply)
        except (hiredis.ProtocolError, IndexError, OutOfStep) as error:
            self.abort(self.reason or error)  # not RESP, or an answer that nobody asked for
        if self.cannot_serve:
            self._leave()

    def _push(self, push: list[Any]) -> None:
        """Hand a push to the command that it answers, if that command is next in turn."""
        marker = self.sent[0].reply if self.sent else None
        if isinstance(marker, Marker) and push[:2] == marker.push:
            self.sent.popleft()
            marker.set_result(None)
            return
        self._on_push(push)

    def _refuse(self, error: Exception) -> None:
        """Hand an error reply to its caller, unless the call is to be sent again."""
        if not self.sent:
            self.reason = error  # what a server says before it closes the connection
            raise OutOfStep
        call = self.sent.popleft()
        if isinstance(error, CannotServe):
            self.cannot_serve = True
            call.refusal = self.reason = error
            self._not_served.append(call)
        elif not call.reply.done() and not (
            isinstance(error, NothingDone) and call.deadline and self._on_refused(call, error)
        ):
            call.reply.set_exception(error)

    def _leave(self) -> None:
        """End a connection whose server cannot serve, but read its other answers first.

        A call whose refusal is read is then known to have done nothing.
        """
        if not self.sent:
            self.abort()
        elif self._drain is None and not self.is_closed:
            self._drain = self._loop.call_later(_DRAIN, self.abort)
            self._on_cannot_serve(self)

    @property
    def unanswered(self) -> list[Call]:
        """The calls without an answer, and the calls that the server could not serve."""
        return [*self._not_served, *self.sent]

    def connection_lost(self, exc: Exception | None) -> None:
        self.reason = self.reason or exc
        self._close()

    def abort(self, reason: Exception | None = None) -> None:
        """Drop the connection at once, without waiting for the other side."""
        self.reason = self.reason or reason
        if self._transport is not None:
            self._transport.abort()
        self._close()

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._transport = None
        self._buffer.clear()
        if self._drain is not None:
            self._drain.cancel()
        unanswered = self.unanswered
        self._not_served.clear()
        self.sent.clear()
        self._on_closed(self, unanswered)
