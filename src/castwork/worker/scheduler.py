"""Scheduler: queues delayed tasks and retries when they are due."""

from __future__ import annotations

from castwork.model.dice import dice
from castwork.store.parked import Parked
from castwork.worker.turns import every

#: Tasks queued per pass at most, so that the pass after an outage does not block the server.
_COUNT = 100


class Scheduler:
    """Moves due tasks of one queue to their lane, by the server's clock.

    Every worker does so, and no process of its own is needed: the call that takes a task off the
    schedule queues it, so each task is queued once.

    Args:
        parked: the queue's parked tasks.
        queue: the queue's name.
        interval: seconds between looks when nothing is due sooner.
    """

    def __init__(self, parked: Parked, queue: str, *, interval: float) -> None:
        self._parked = parked
        self._queue = queue
        self._interval = interval

    async def run(self) -> None:
        """Queue due tasks until cancelled."""
        what = f"queue {self._queue}: schedule not looked at"
        await every(self.promote, what, patience=self._interval)

    async def promote(self) -> float:
        """Queue what is due, and return the seconds until the next look."""
        ids, following = await self._parked.due(_COUNT)
        if ids:
            await self._parked.unpark(ids)
        if len(ids) == _COUNT:
            return 0.0
        interval = self._interval * dice.uniform(0.8, 1.2)
        return interval if following is None else min(interval, following + 0.001)
