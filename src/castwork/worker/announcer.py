"""Announcer: tells that tasks are running, once they have run for a moment."""

from __future__ import annotations

import asyncio
import logging

from castwork.model.entry import with_meta
from castwork.model.errors import NotOpen, ServerError
from castwork.model.record import Record, encode_record
from castwork.model.states import TaskState
from castwork.store.outcomes import Outcomes
from castwork.worker.attempt import Attempt
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Attempts announced per script call at most: keeps one call short on the server.
_GROUP = 250

#: Seconds until the next look when the server refuses.
_PATIENCE = 1.0


class Announcer:
    """Writes the status `running` for attempts that outlast `after` seconds, many in one call.

    Shorter tasks have ended by then and cost no announcement.
    """

    def __init__(self, workload: Workload, outcomes: Outcomes, *, after: float) -> None:
        self._workload = workload
        self._outcomes = outcomes
        self._after = after
        self._wait = after
        self._keeps_records = workload.queue.keeps_records
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Plan a look, as an attempt has begun."""
        if self._timer is None and self._keeps_records:
            self._timer = self._loop.call_later(self._after, self._look)

    def stop(self) -> None:
        """Announce nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if any(not a.announced and not a.finished for a in self._workload.attempts):
            if self._under_way is None or self._under_way.done():
                self._under_way = self._loop.create_task(self._announce())
            self._timer = self._loop.call_later(self._wait, self._look)

    async def _announce(self) -> None:
        try:
            await self.announce()
            self._wait = self._after
        except (NotOpen, ServerError) as error:
            logger.warning("running tasks were not announced: %s", error)
            self._wait = max(self._after, _PATIENCE)

    async def announce(self) -> int:
        """Announce the attempts that run and are not announced yet; return their number.

        Attempts whose lease is lost are not counted.
        """
        limit = self._loop.time() - self._after * 0.9
        ready = [
            a
            for a in self._workload.attempts
            if not (a.announced or a.finished)
            and (a.launched_at and a.launched_at <= limit and a.started_at)
        ]
        announced = 0
        for start in range(0, len(ready), _GROUP):
            group = ready[start : start + _GROUP]
            announced += await self._outcomes.announce([(a, self._record(a)) for a in group])
            for attempt in group:
                attempt.announced = True
        return announced

    def _record(self, attempt: Attempt) -> bytes:
        worker_id = self._workload.worker_id
        record = Record(
            TaskState.RUNNING, attempt.task, attempt.number, worker_id, attempt.started_at
        )
        record.watched = attempt.meta is not None and attempt.meta.watched
        return encode_record(with_meta(record, attempt.meta))
