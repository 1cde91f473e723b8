"""Recovery: takes over tasks whose lease has run out."""

from __future__ import annotations

import asyncio
import logging
import time

from castwork.model.dice import dice
from castwork.model.errors import ConnectionFailed
from castwork.redis.replies import NoGroup
from castwork.store.claims import Claims, Left, Recovered
from castwork.worker.attempt import Attempt, Origin
from castwork.worker.fetcher import Fetcher
from castwork.worker.quarantine import Quarantine
from castwork.worker.runner import Runner
from castwork.worker.turns import every
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Entries claimed per call at most.
_COUNT = 10

#: Passes between looks for idle workers, old notes and old dead letters to forget.
_RETIRE_EVERY = 20

#: Seconds between looks whether a task that runs alone waits for another one.
_LOOK = 0.1

#: Seconds from the start to the first look, at most.
_FIRST = 1.0


class Recovery:
    """Gives the tasks of lost workers another attempt.

    A task is lost when its lease was not renewed for `lease` seconds, by the server's clock.
    Whatever ran beside the code that ended a worker comes back with that code. So a task that two
    workers were lost with runs alone in its worker, before a third loss makes a dead letter of it.

    A cursor is kept between passes and each call looks at few entries, so that a pass over a
    million pending tasks never blocks the server. Jitter keeps the workers' passes apart.

    Args:
        fetcher: asked for tasks that were taken over by a call whose reply was lost.
        quarantine: empties the worker for one task.
        lease: seconds that a lease lasts.
    """

    def __init__(
        self,
        workload: Workload,
        claims: Claims,
        runner: Runner,
        fetcher: Fetcher,
        quarantine: Quarantine,
        *,
        lease: float,
    ) -> None:
        self._workload = workload
        self._claims = claims
        self._runner = runner
        self._fetcher = fetcher
        self._quarantine = quarantine
        self._lease = lease
        self._must_sweep = False
        self._cursors = ["-"] * len(workload.origins)
        self._passes = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        what = f"queue {self._workload.queue.name}: not swept"
        await every(self._pass, what, patience=self._lease / 4)

    async def _pass(self) -> float:
        if self._is_overdue():
            return self._lease / 10
        try:
            if self._passes:
                await self.sweep()
            self._passes += 1
            if self._passes % _RETIRE_EVERY == 0:
                await self._claims.retire()
                await self._trim()
                await self._forget_cancels()
        except NoGroup:
            logger.debug("queue %s: no group to sweep yet", self._workload.queue.name)
        wait = self._lease * dice.uniform(0.15, 0.35)
        # A worker that takes a dead one's place looks soon for what its supervisor has given back.
        return min(wait, _FIRST) if self._passes == 1 else wait

    async def _forget_cancels(self) -> None:
        """Forget cancels of entries that the group has done with; new ones stay."""
        unwanted = self._workload.unwanted
        known = set(unwanted)
        unwanted -= known - await self._claims.unwanted()

    def _is_overdue(self) -> bool:
        """Whether the leases of this worker could not be renewed, and may have run out.

        A server that has taken no writes for a while would else give this worker its own tasks, for
        a second run: their leases are renewed first.
        """
        since = time.monotonic() - self._workload.renewed_at
        return len(self._workload) > 0 and since > 0.75 * self._lease

    async def _trim(self) -> None:
        """Purge dead letters beyond those that are kept."""
        letters, queue = self._workload.store.letters, self._workload.queue.name
        while purged := await letters.trim():
            logger.warning(
                "queue %s: more dead letters than are kept, the oldest are purged: tasks %s",
                queue,
                ", ".join(purged),
            )

    async def sweep(self) -> int:
        """Take over lost tasks, at most as many as there are free slots; return their number."""
        if self._must_sweep:
            await self._fetcher.sweep()
            self._must_sweep = False
        workload, count = self._workload, 0
        for origin in workload.origins:
            free = min(workload.free, _COUNT)
            if free <= 0:
                break
            with workload.reserve(free):
                found = await self._recover(origin, free)
            for left in found.left:
                self._start(origin, left, found.now_ms)
            count += len(found.left)
            if found.suspects:
                count += await self._run_suspects(origin)
        return count

    async def _recover(self, origin: Origin, count: int, *, suspect: bool = False) -> Recovered:
        try:
            found = await self._claims.recover(
                origin.lane,
                lease_ms=int(self._lease * 1000),
                cursor="-" if suspect else self._cursors[origin.lane],
                count=count,
                suspect=suspect,
            )
        except ConnectionFailed:  # tasks may have been taken over all the same
            self._must_sweep = True
            raise
        if not suspect:
            self._cursors[origin.lane] = found.cursor
        return found

    async def _run_suspects(self, origin: Origin) -> int:
        """Run tasks that two workers were lost with, one after the other, with nothing beside."""
        count, until = 0, time.monotonic() + 2 * self._lease
        async with self._quarantine.empty() as is_empty:
            while is_empty and (not count or time.monotonic() < until):
                found = await self._recover(origin, 1, suspect=True)
                if not found.left:
                    break
                attempt = self._start(origin, found.left[0], found.now_ms, alone=True)
                count += 1
                if await self._waits_for_another(attempt):
                    break
        return count

    async def _waits_for_another(self, attempt: Attempt) -> bool:
        """Wait until an attempt has ended, False; or until it waits for another task, True.

        That other task may have to run in this worker, which must be emptied no longer then.
        """
        lenders = self._workload.lending.lenders
        while (runner := attempt.runner) is not None:
            await asyncio.wait([runner], timeout=_LOOK)
            if attempt in lenders:
                return True
        return False

    def _start(self, origin: Origin, left: Left, now_ms: int, *, alone: bool = False) -> Attempt:
        """Give a lost task its next attempt."""
        attempt = Attempt(origin, left.entry_id, left.deliveries, left.fields)
        self._runner.start(attempt, now_ms, alone=alone)
        task_id, times = attempt.task_id, left.deliveries - 1
        noun = self._workload.queue.noun
        logger.warning("%s %s was left by a lost worker, %d so far", noun, task_id, times)
        return attempt
