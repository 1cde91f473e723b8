"""Gatherer: what is asked for in one loop tick goes out in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Items, and bytes, per call: enough to spread its cost, little enough not to block the server.
MOST = 250
MOST_BYTES = 250_000


class Gatherer(Generic[T, R]):
    """Sends items in groups, and hands each caller the answer to its own.

    A lone item goes out at once. While a call is under way the others gather, and go out together
    at the end of the loop tick.

    Args:
        send: sends a group, and returns an answer per item.
    """

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._send = send
        self._under_way = 0
        self._group: _Group[T, R] | None = None

    async def add(self, item: T, size: int) -> R:
        """Send an item of so many bytes; return its answer. Raises what `send` raises."""
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
        place = len(group.items) - 1
        # Shielded, as one caller that leaves must not take the group along.
        return (await asyncio.shield(group.answers))[place]

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
            group.answers.exception()  # seen, also when every caller has left
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
        """Whether there is room; a group that an ended loop left behind never goes out."""
        has_room = self.size < MOST_BYTES and len(self.items) < MOST
        return has_room and self.answers.get_loop() is loop
