"""Announcer: tells that tasks are running, once they have run for a moment."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from castwork.model.errors import ConnectionFailed, NotOpen, ServerRefused
from castwork.model.record import Record, encode_record
from castwork.model.states import TaskState
from castwork.redis.scripts import START, Scripts
from castwork.tasks.attempt import Attempt
from castwork.tasks.serving import Serving

logger = logging.getLogger(__name__)

#: Attempts announced per script call at most: keeps one call short on the server.
_GROUP = 250


class Announcer:
    """Writes the state `running` for attempts that outlast `after` seconds, many at once.

    Short tasks are over by then and cost no announcement.
    """

    def __init__(self, serving: Serving, scripts: Scripts, *, after: float) -> None:
        self._queue = serving.queue
        self._worker = serving.worker
        self._held = serving.held
        self._scripts = scripts
        self._after = after
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """An attempt has begun: look at it when its time has come."""
        if self._timer is None and self._queue.keeps_records:
            self._timer = self._loop.call_later(self._after, self._look)

    def stop(self) -> None:
        """Announce nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if any(not a.announced and not a.finished for a in self._held.attempts):
            if self._under_way is None or self._under_way.done():
                self._under_way = self._loop.create_task(self._announce())
            self.arm()

    async def _announce(self) -> None:
        try:
            await self.announce()
        except (ConnectionFailed, NotOpen, ServerRefused) as error:
            logger.warning("running tasks were not announced: %s", error)

    async def announce(self) -> int:
        """Announce what runs and is not announced yet; return how many that were."""
        limit = self._loop.time() - self._after * 0.9
        ready = [
            a
            for a in self._held.attempts
            if not a.announced and a.launched_at and a.launched_at <= limit and not a.finished
        ]
        announced = 0
        for start in range(0, len(ready), _GROUP):
            announced += await self._announce_group(ready[start : start + _GROUP])
        return announced

    async def _announce_group(self, group: list[Attempt]) -> int:
        keys = [*self._queue.streams, *(self._queue.keys.record(a.task_id) for a in group)]
        args: list[Any] = [len(self._queue.lanes), self._worker]
        args += (lane.group for lane in self._queue.lanes)
        for attempt in group:
            record = _running_record(attempt, self._worker)
            args += (attempt.lane_number, attempt.entry_id, attempt.deliveries, record)
        announced = int(await self._scripts.run(START, keys, args))
        for attempt in group:
            attempt.announced = True
        return announced


def _running_record(attempt: Attempt, worker: str) -> bytes:
    assert attempt.entry is not None
    return encode_record(
        Record(
            TaskState.RUNNING,
            attempt.entry.task,
            attempt.number,
            worker,
            attempt.started_at,
        )
    )
