"""Attendance: ends attempts whose task is to be cancelled when its last watcher has left."""

from __future__ import annotations

import asyncio
import logging

from castwork.store.watches import Watches
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.turns import every
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: What who waits for the task is told, and `current().cancel_reason`.
REASON = "disconnect: its last watcher has left"


class Attendance:
    """Looks a few times in a lease whether somebody watches the running tasks that ask for it.

    A worker that runs no such task asks the server nothing. When an answer took long, the watchers
    may not have got through either: then they get a lease to do so.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._watches: Watches = workload.store.watches
        self._loop = asyncio.get_running_loop()
        self._asked_at: float | None = None
        self._judges_from = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        what = f"queue {self._workload.queue.name}: whether tasks are watched is not known"
        await every(self._pass, what, patience=self._watches.lease / 5)

    async def _pass(self) -> float:
        if self._asked_at is not None:  # the last look has failed
            self._judges_from = self._loop.time() + self._watches.lease
        self._asked_at = self._loop.time()
        await self.look()
        self._asked_at = None
        return self._watches.lease / 5

    async def look(self) -> int:
        """End the attempts that nobody watches, and return their number."""
        wanted = {a.task_id: a for a in self._workload.attempts if _asks(a)}
        if not wanted:
            return 0
        began = self._loop.time()
        unwatched = await self._watches.unwatched(list(wanted))
        now = self._loop.time()
        if now - began > self._watches.lease / 4:
            self._judges_from = now + self._watches.lease
        if now < self._judges_from:
            return 0
        for task_id in unwatched:
            logger.info("task %s is cancelled: %s", task_id, REASON)
            attempt = wanted[task_id]
            attempt.cancel_reason = attempt.cancel_reason or REASON
            attempt.end(Ending.CANCEL)
        return len(unwatched)


def _asks(attempt: Attempt) -> bool:
    if attempt.meta is None or not attempt.meta.watched:
        return False
    return attempt.begun and not (attempt.finished or attempt.ended_by)
