"""Lending: the slots of attempts that wait for other tasks, which others may use meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castwork.worker.attempt import Attempt
    from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Attempts that may lend their slots at once, at least and per slot: each holds memory and a lease.
_LEAST, _PER_SLOT = 100, 10


class Lending:
    """Lends the slots of attempts that wait for tasks, so that those tasks find one.

    An attempt that has its answer takes a slot back before it goes on, ahead of all that is claimed
    or waits. One attempt may wait for several tasks at once: its slot is lent until the last of
    them has ended.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._most = max(_LEAST, _PER_SLOT * workload.capacity)
        self.lenders: dict[Attempt, int] = {}
        self.resuming: deque[tuple[Attempt, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def waiting(self, attempt: Attempt) -> AsyncIterator[None]:
        """Around a wait of an attempt."""
        if not self._lend(attempt):
            yield
            return
        try:
            yield
        except BaseException:  # it is being stopped, and has to end whether or not a slot is free
            if self._has_all(attempt):
                self.take_back(attempt)
            raise
        if self._has_all(attempt):
            await self._resume(attempt)

    def take_back(self, attempt: Attempt) -> None:
        """Give an attempt its slot back at once, if it is lent."""
        if self.lenders.pop(attempt, None) is not None:
            self._workload.running += 1

    def settle(self) -> None:
        """Let attempts go on, as far as slots are free."""
        while self.resuming and self._workload.has_room:
            attempt, resumed = self.resuming.popleft()
            if not resumed.done():
                self.take_back(attempt)
                resumed.set_result(None)

    def _lend(self, attempt: Attempt) -> bool:
        count = self.lenders.get(attempt)
        if count is None:
            if attempt.finished:
                return False
            if len(self.lenders) >= self._most:
                logger.warning(
                    "task %s keeps its slot while it waits for another task: %d tasks have lent"
                    " theirs already, and may never end",
                    attempt.task_id,
                    self._most,
                )
                return False
            self._workload.running -= 1
        self.lenders[attempt] = (count or 0) + 1
        if count is None:
            self._workload.freed()
        return True

    def _has_all(self, attempt: Attempt) -> bool:
        """Note the end of one wait; whether the attempt lends still, and waits for nothing more."""
        count = self.lenders.get(attempt)
        if count is None:  # the attempt has ended meanwhile
            return False
        self.lenders[attempt] = count - 1
        return count == 1

    async def _resume(self, attempt: Attempt) -> None:
        if not self.resuming and self._workload.has_room:
            self.take_back(attempt)
            return
        resumed = asyncio.get_running_loop().create_future()
        self.resuming.append((attempt, resumed))
        try:
            await resumed
        except BaseException:
            self.take_back(attempt)
            raise
