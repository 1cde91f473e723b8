"""Ticker: queues the tasks of schedules when their time has come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from castwork.model.dice import dice
from castwork.model.errors import ServerError
from castwork.model.schedules import runs_due
from castwork.store.schedules import Kept, Scheduled, Schedules
from castwork.tasks.function import TaskFunction
from castwork.tasks.schedule import declared
from castwork.worker.turns import every

logger = logging.getLogger(__name__)

#: Seconds between looks when nothing is due sooner, at most.
_INTERVAL = 1.0

#: Schedules that are fired per look, at most.
_COUNT = 20

#: Seconds between saying anew which schedules the code declares.
_SAY_AGAIN = 60.0


class Ticker:
    """Looks at the schedules of one queue; every worker does so, and one of them fires each run.

    Args:
        schedules: the queue's schedules.
        functions: the queue's task functions whose code declares a schedule.
        queue: the queue's name.
        grace: seconds after which a schedule is dropped that no worker's code declares any more.
    """

    def __init__(
        self,
        schedules: Schedules,
        functions: Sequence[TaskFunction[..., object]],
        queue: str,
        *,
        grace: float,
    ) -> None:
        self._schedules = schedules
        self._functions = functions
        self._queue = queue
        self._grace = grace
        self._since = 0.0
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        what = f"queue {self._queue}: schedules not looked at"
        async with asyncio.TaskGroup() as both:
            both.create_task(every(self.tick, what, patience=_INTERVAL))
            if self._functions:
                both.create_task(every(self._say, what, patience=_INTERVAL))

    async def _say(self) -> float:
        """Keep what the code declares; the worker that started last says last.

        All times are the server's: by the clock of a worker that is behind, another worker would
        take a schedule for one that nobody declares any more.
        """
        now = await self._schedules.now()
        self._since = self._since or now
        for function in self._functions:
            name, when, kept = declared(function, now)
            kept.since = self._since
            before = await self._schedules.get(name)
            if before is None or not self._is_younger(before.kept, now):
                await self._schedules.put(name, when, kept)
        return _SAY_AGAIN

    def _is_younger(self, other: Kept, now: float) -> bool:
        """Whether a worker that lives still and started behind this one has said a schedule."""
        return other.since > self._since and now - other.declared < 2 * _SAY_AGAIN

    async def tick(self) -> float:
        """Fire what is due, and return the seconds until the next look."""
        # What cannot be fired stays due, and must not take the others' places.
        due = await self._schedules.due(_COUNT + len(self._told))
        news = due.malformed.keys() - self._told
        self._told |= news
        for name, why in due.malformed.items():
            if name in news:
                logger.error("queue %s: schedule %s is left out: %s", self._queue, name, why)
        for one in due.schedules:
            await self._fire(one, due.now)
        if due.schedules or news:
            return 0.0
        wait = _INTERVAL * dice.uniform(0.8, 1.2)
        return wait if due.following is None else min(wait, due.following - due.now + 0.001)

    async def _fire(self, one: Scheduled, now: float) -> None:
        assert one.at is not None
        if one.kept.declared and now - one.kept.declared > self._grace + _SAY_AGAIN:
            logger.info("queue %s: no worker declares schedule %s any more", self._queue, one.id)
            await self._schedules.remove(one.id)
            return
        runs, following = runs_due(one.when, one.at, now)
        try:
            fired = await self._schedules.fire(one, following, runs=runs)
        except ServerError as error:
            logger.warning("queue %s: schedule %s waits: %s", self._queue, one.id, error)
            await asyncio.sleep(_INTERVAL)
            return
        if fired and not runs:
            logger.info("queue %s: schedule %s leaves out a run that is late", self._queue, one.id)
