"""Scheduler: queues delayed tasks and retries when they are due."""

from __future__ import annotations

import asyncio
import logging
import random

from castwork.model.errors import AuthenticationFailed, ConnectionFailed, ServerRefused
from castwork.redis.scripts import DUE, PROMOTE, Scripts
from castwork.tasks.queue import Queue

logger = logging.getLogger(__name__)

#: Tasks queued per pass at most: a late pass must not block the server.
_COUNT = 100


class Scheduler:
    """Moves due tasks of one queue to their lane, by the server's clock.

    Every worker does it; whoever removes a task from the schedule queues it, so each is
    queued once. There is no process of its own to run.

    Args:
        interval: seconds between looks when nothing is due sooner.
    """

    def __init__(self, queue: Queue, scripts: Scripts, *, interval: float) -> None:
        self._queue = queue
        self._scripts = scripts
        self._interval = interval

    async def run(self) -> None:
        """Queue due tasks until cancelled."""
        while True:
            try:
                wait = await self.promote()
            except (AuthenticationFailed, ConnectionFailed, ServerRefused) as error:
                logger.warning("queue %s: schedule not looked at: %s", self._queue.name, error)
                wait = self._interval
            await asyncio.sleep(wait)

    async def promote(self) -> float:
        """Queue what is due, and return the seconds until the next look."""
        keys = self._queue.keys
        next_ms, *ids = await self._scripts.run(DUE, [keys.scheduled], [_COUNT])
        if ids:
            records = [keys.record(task_id.decode()) for task_id in ids]
            names = [keys.scheduled, keys.parked, keys.entries, *keys.lanes.values(), *records]
            await self._scripts.run(PROMOTE, names, ids)
        if len(ids) == _COUNT:
            return 0.0
        interval = self._interval * random.uniform(0.8, 1.2)
        return interval if next_ms < 0 else min(interval, next_ms / 1000 + 0.001)
