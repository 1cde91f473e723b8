"""Recovery: takes over tasks whose lease has run out."""

from __future__ import annotations

import logging
import random

from castwork.redis.replies import NoGroup
from castwork.store.claims import Claims
from castwork.worker.attempt import Attempt
from castwork.worker.runner import Runner
from castwork.worker.turns import every
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Entries claimed per call at most.
_COUNT = 10

#: Passes between looks for idle workers and old notes to forget.
_RETIRE_EVERY = 20


class Recovery:
    """Gives the tasks of lost workers another attempt.

    A task is lost when its lease was not renewed for `lease` seconds, by the server's clock.
    A cursor is kept between passes and each call looks at few entries, so that a pass over a
    million pending tasks never blocks the server. Jitter keeps the workers' passes apart.

    Args:
        lease: seconds that a lease lasts.
    """

    def __init__(self, workload: Workload, claims: Claims, runner: Runner, *, lease: float) -> None:
        self._workload = workload
        self._claims = claims
        self._runner = runner
        self._lease = lease
        self._cursors = ["-"] * len(workload.origins)
        self._passes = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        what = f"queue {self._workload.queue.name}: not swept"
        await every(self._pass, what, patience=self._lease / 4)

    async def _pass(self) -> float:
        try:
            if self._passes:
                await self.sweep()
            self._passes += 1
            if self._passes % _RETIRE_EVERY == 0:
                await self._claims.retire()
        except NoGroup:
            logger.debug("queue %s: no group to sweep yet", self._workload.queue.name)
        return self._lease * random.uniform(0.15, 0.35)

    async def sweep(self) -> int:
        """Take over lost tasks, at most as many as there are free slots; return their number."""
        workload, count = self._workload, 0
        for origin in workload.origins:
            free = min(workload.free, _COUNT)
            if free <= 0:
                break
            with workload.reserve(free):
                found = await self._claims.recover(
                    origin.lane,
                    lease_ms=int(self._lease * 1000),
                    cursor=self._cursors[origin.lane],
                    count=free,
                )
            self._cursors[origin.lane] = found.cursor
            for left in found.left:
                attempt = Attempt(origin, left.entry_id, left.deliveries, left.fields)
                self._runner.start(attempt, found.now_ms)
                logger.warning("task %s was left by a lost worker", attempt.task_id)
            count += len(found.left)
        return count
