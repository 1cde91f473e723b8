"""Numbered calls: how a repeated enqueue is told from a new one."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from castwork.model.ids import new_id

#: Calls of one producer under way at a time: what the server remembers of it.
_SLOTS = 64


class NumberedCalls:
    """Gives each call a slot and a number above all that the slot had before.

    The server keeps the answer of each slot's last call, so a call that is sent again is answered
    as it was. A slot is given out again only when its call was answered or given up.
    """

    def __init__(self) -> None:
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._reset()

    def _reset(self) -> None:
        """Begin anew under another name: a forked child must not repeat its parent's numbers."""
        self._sender = new_id()
        self._number = 0
        self._free = deque(range(_SLOTS))
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[tuple[str, int]]:
        """The slot and the number of one call, which lasts as long as the block."""
        owner = os.getpid(), asyncio.get_running_loop()
        if owner != self._owner:
            self._owner = owner
            self._reset()
        free = self._free
        while not free:
            turn = owner[1].create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the turn had come: it is the next one's
                raise
        slot = free.popleft()
        self._number += 1
        try:
            yield f"{self._sender}:{slot}", self._number
        finally:
            free.append(slot)
            self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
