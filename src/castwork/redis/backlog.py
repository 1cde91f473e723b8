"""Backlog: calls that cannot go out now, and calls whose reply did not come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from castwork.model.errors import CastworkError, ConnectionFailed, EffectUnknown
from castwork.redis.replies import NotNow
from castwork.redis.wire import Call


class Backlog:
    """Calls that wait: for a connection, or until the server takes what it refused for now.

    Each call waits up to its own deadline. Calls that wait for a connection go out in the order in
    which they came, and so do calls that were refused.

    Args:
        send: sends a call if there is a connection, and returns whether there is one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[Call], bool]) -> None:
        #: Where the server is, and why there is no connection: for the errors.
        self.where: object = "the server"
        self.reason: object = None
        self._loop = loop
        self._send = send
        self._waiting: deque[Call] = deque()
        self._refused: list[Call] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Call) -> None:
        """Keep a new call until there is a connection."""
        self._waiting.append(call)

    def refuse(self, call: Call, refusal: NotNow) -> None:
        """Keep a call that the server refused, for a wait that grows each time."""
        call.refusal = refusal
        call.refusals += 1
        self._refused.append(call)
        if self._timer is None:
            # One timer for all: calls of one pipeline are refused together, and go again together
            # so that none overtakes another.
            left = max(0.0, call.deadline - self._loop.time())
            self._timer = self._loop.call_later(
                min(left, refusal.wait(call.refusals)), self._send_refused
            )

    def take_back(self, unanswered: Iterable[Call]) -> None:
        """Keep the calls of a connection that broke, before all others.

        The callers of calls that must not be sent again are told that the effect is unknown.
        """
        again = sort_unanswered(unanswered, self.where)
        self._waiting.extendleft(reversed([*self._take_refused(), *again]))

    def connected(self) -> None:
        """Send what has waited for a connection."""
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            self._send_again(call)

    def expire(self) -> None:
        """Tell callers whose time is up, and whether their command may have run."""
        if not self._waiting:
            return
        now, left = self._loop.time(), deque[Call]()
        for call in self._waiting:
            if call.deadline > now:
                left.append(call)
            else:
                self._give_up(call)
        self._waiting = left

    def take_all(self) -> list[Call]:
        """Remove and return all calls."""
        calls = [*self._take_refused(), *self._waiting]
        self._waiting.clear()
        return calls

    def _take_refused(self) -> list[Call]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls, self._refused = self._refused, []
        return calls

    def _send_refused(self) -> None:
        for call in self._take_refused():
            self._send_again(call)

    def _send_again(self, call: Call) -> None:
        if call.reply.done():
            return
        if call.deadline <= self._loop.time():
            self._give_up(call)
        elif self._send(call):
            call.refusal = None  # sent again: once more it may have an effect
        else:
            self._waiting.append(call)

    def _give_up(self, call: Call) -> None:
        if call.reply.done():
            return
        reason = call.refusal or self.reason or "reconnecting"
        call.reply.set_exception(
            EffectUnknown(
                f"no reply from {self.where} before its connection broke, and no other"
                f" connection in time ({reason}); the command may have run"
            )
            if call.was_sent
            else ConnectionFailed(
                f"{self.where} did not serve in time; nothing was done ({reason})"
            )
        )


def sort_unanswered(calls: Iterable[Call], where: object) -> list[Call]:
    """Sort the calls of a connection that broke, and return those that may be sent again.

    Idempotent calls may, and calls of which the server has said that it did nothing. The callers
    of the other calls are told that the effect is unknown.
    """
    again = []
    for call in calls:
        if call.reply.done() or not call.deadline:
            continue  # nobody waits: a PING of the link, or a subscription that is made anew
        if call.refusal is not None:
            again.append(call)
        elif call.idempotent:
            call.was_sent = True
            again.append(call)
        else:
            call.reply.set_exception(
                EffectUnknown(
                    f"the connection to {where} broke before the reply came;"
                    " the command may have run"
                )
            )
    return again


def drop(calls: Iterable[Call], error: type[CastworkError], message: str) -> None:
    """End calls with an error; a caller that has stopped waiting need not look at it."""
    for call in calls:
        if not call.reply.done():
            call.reply.set_exception(error(message))
            if isinstance(call.reply, asyncio.Future):
                call.reply.exception()  # marked as seen: asyncio warns of errors that nobody saw
