"""Lending: the slots of attempts that wait for other tasks, which others may use meanwhile."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castwork.worker.attempt import Attempt
    from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Attempts that lend their slots at once from which on a warning says so; the next one comes at
#: twice as many.
_MANY = 1000


#: Plain functions that may wait for other tasks at once, in threads beside those of the slots.
_LENDERS = 1000


def task_threads(slots: int) -> ThreadPoolExecutor:
    """A pool with a thread per slot, and some for tasks whose slots are lent; each starts late.

    A slot stays taken for as long as its thread is, so that no task waits for a thread.
    """
    return ThreadPoolExecutor(slots + _LENDERS, thread_name_prefix="castwork-task")


class Lending:
    """Lends the slots of attempts that wait for tasks, so that those tasks find one.

    An attempt that has its answer takes a slot back before it goes on, ahead of all that is claimed
    or waits. One attempt may wait for several tasks at once: its slot is lent until the last of
    them has ended.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._told_at = _MANY
        self.lenders: dict[Attempt, int] = {}
        #: Calls of several attempts that are under way.
        self.calls: set[asyncio.Task[None]] = set()
        self.resuming: deque[tuple[Attempt | None, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def waiting(self, attempt: Attempt) -> AsyncIterator[None]:
        """Around a wait of an attempt."""
        if not self._lend(attempt):
            yield
            return
        try:
            yield
        finally:
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
                if attempt is None:
                    self._workload.running += 1
                else:
                    self.take_back(attempt)
                resumed.set_result(None)

    # -- for batches --------------------------------------------------------------------

    def gather(self, attempt: Attempt) -> None:
        """Take the slot of an attempt that waits for a call with others, and ends without one."""
        self._workload.gathered += 1
        self._workload.running -= 1
        self.lenders[attempt] = 1
        self._workload.freed()

    def gathered(self, count: int) -> None:
        """So many attempts wait no more: others may be claimed."""
        self._workload.gathered -= count
        self._workload.signal()

    async def slot(self) -> None:
        """Take a slot for a call of several attempts, ahead of all that is claimed or waits."""
        if not self.resuming and self._workload.has_room:
            self._workload.running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        waiting = (None, turn)
        self.resuming.append(waiting)
        try:
            await turn
        except asyncio.CancelledError:
            # `settle` may have passed a cancelled turn over: then no slot was taken for it.
            if turn.done() and not turn.cancelled():
                self.free_slot()
            elif waiting in self.resuming:
                self.resuming.remove(waiting)
            raise

    def free_slot(self) -> None:
        """Give back what `slot` took."""
        self._workload.running -= 1
        self._workload.freed()

    # -- lending ------------------------------------------------------------------------

    def _lend(self, attempt: Attempt) -> bool:
        count = self.lenders.get(attempt)
        if count is None:
            if attempt.finished:
                return False
            self._workload.running -= 1
        self.lenders[attempt] = (count or 0) + 1
        if count is None:
            self._tell()
            self._workload.freed()
        return True

    def _tell(self) -> None:
        if len(self.lenders) >= self._told_at:
            logger.warning(
                "queue %s: %d tasks wait for other tasks in this worker, and each holds memory and"
                " a lease: let those others come first, by their priority or their queue",
                self._workload.queue.name,
                len(self.lenders),
            )
            self._told_at *= 2

    def _has_all(self, attempt: Attempt) -> bool:
        """Note the end of one wait; whether the attempt lends still, and waits for nothing more."""
        count = self.lenders.get(attempt)
        if count is None:  # the attempt has ended meanwhile
            return False
        self.lenders[attempt] = count - 1
        return count == 1

    async def _resume(self, attempt: Attempt) -> None:
        """Wait for a slot; an attempt that is being ended has to end without one.

        What ended the wait may be a timeout of the code's own: it comes once there is a slot.
        """
        if not self.resuming and self._workload.has_room:
            self.take_back(attempt)
        cancelled: asyncio.CancelledError | None = None
        while attempt in self.lenders:
            if attempt.ended_by or isinstance(sys.exception(), GeneratorExit):
                self.take_back(attempt)
                break
            waiting = (attempt, asyncio.get_running_loop().create_future())
            self.resuming.append(waiting)
            try:
                await waiting[1]
            except asyncio.CancelledError as error:
                if waiting in self.resuming:
                    self.resuming.remove(waiting)
                cancelled = error
        if cancelled is not None:
            raise cancelled
