"""Numbered calls: how the server tells a repeated enqueue from a new one."""

from __future__ import annotations

import asyncio
import os
from collections import deque

from castwork.model.ids import new_id

#: Calls of one producer under way at a time, and so the answers that the server keeps for it.
_SLOTS = 64


class NumberedCalls:
    """Gives each call a slot, and a number above all numbers that the slot had before.

    The server keeps the answer of each slot's last call, so a call that is sent again gets the
    answer of the first time. A slot is free again once its call was answered or given up.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._reset()

    def _reset(self) -> None:
        """Begin anew with another sender: a forked child must not repeat its parent's numbers."""
        self._sender = new_id()
        self._number = 0
        self._free = deque(range(_SLOTS))
        self._waiting: deque[asyncio.Future[None]] = deque()

    def next(self) -> _NumberedCall:
        """A context manager around one call, which gives its slot and its number."""
        return _NumberedCall(self)

    async def take(self) -> tuple[str, int]:
        """Take a slot once there is one: its name, and the call's number."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._pid != os.getpid():
            self._loop, self._pid = loop, os.getpid()
            self._reset()
        free = self._free
        while not free:
            turn = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the turn had come: now it is the next caller's
                raise
        self._number += 1
        return f"{self._sender}:{free.popleft()}", self._number

    def give(self, name: str) -> None:
        """Give a slot back: its call was answered or given up."""
        sender, _, slot = name.partition(":")
        if sender != self._sender:
            return  # of the time before the last reset
        self._free.append(int(slot))
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class _NumberedCall:
    """One call: entered, its slot and its number; left, the slot is free again."""

    __slots__ = ("_calls", "_slot")

    def __init__(self, calls: NumberedCalls) -> None:
        self._calls = calls

    async def __aenter__(self) -> tuple[str, int]:
        self._slot, number = await self._calls.take()
        return self._slot, number

    async def __aexit__(self, *_: object) -> None:
        self._calls.give(self._slot)
