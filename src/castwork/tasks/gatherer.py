"""Gatherer: sends the items of one loop tick in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Items, and bytes, per call: enough to spread the cost of a call, and few enough to keep one call
#: short on the server.
MOST = 250
MOST_BYTES = 250_000


class Gatherer(Generic[T, R]):
    """Sends items in groups, and hands each caller the answer to its item.

    A lone item goes out at once. While a call is under way the items of each loop tick gather, and
    go out together at the tick's end.

    Args:
        send: sends a group, and returns an answer per item.
    """

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._send = send
        self._under_way = 0
        self._group: _Group[T, R] | None = None

    async def add(self, item: T, size: int) -> R:
        """Send an item of `size` bytes; return its answer. Raises what `send` raises."""
        if not self._under_way:
            self._under_way += 1
            try:
                return (await self._send([item]))[0]
            finally:
                self._under_way -= 1
        loop = asyncio.get_running_loop()
        group = self._group
        if group is None or not group.takes_more(loop):
            group = self._group = _Group(loop)
            loop.call_soon(self._send_group, group)
        group.items.append(item)
        group.size += size
        position = len(group.items) - 1
        # Shielded: a caller that is cancelled must not cancel the group's call.
        return (await asyncio.shield(group.answers))[position]

    def _send_group(self, group: _Group[T, R]) -> None:
        if self._group is group:
            self._group = None
        group.sending = asyncio.ensure_future(self._answer(group))

    async def _answer(self, group: _Group[T, R]) -> None:
        self._under_way += 1
        try:
            group.answers.set_result(await self._send(group.items))
        except Exception as error:
            group.answers.set_exception(error)
            group.answers.exception()  # marked as seen: perhaps every caller was cancelled
        finally:
            self._under_way -= 1


class _Group(Generic[T, R]):
    """Items that go out together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.items: list[T] = []
        self.size = 0
        self.answers: asyncio.Future[Sequence[R]] = loop.create_future()
        self.sending: asyncio.Future[None] | None = None

    def takes_more(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is room, and the group belongs to this loop.

        A group that a closed event loop left behind would never be sent.
        """
        has_room = self.size < MOST_BYTES and len(self.items) < MOST
        return has_room and self.answers.get_loop() is loop
