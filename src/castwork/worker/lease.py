"""LeaseKeeper: renews the leases of running attempts, on a thread with its own connection."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from castwork.redis.connections import Connections
from castwork.redis.thread_link import ThreadLink
from castwork.store.renewals import Renewals
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.watchdog import Watchdog
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Leases renewed per script call at most: keeps one call short on the server.
_GROUP = 500


class LeaseKeeper:
    """Keeps the leases of this worker's attempts, even while its event loop is blocked.

    Each third of a lease a script call renews all attempts of a lane, several calls when there
    are many. An attempt whose lease is lost is ended. An attempt that is past its timeout is not
    renewed any more, so that a stuck task comes back.

    Args:
        connections: where the thread gets connections of its own.
        workloads: the attempts to keep.
        watchdog: checked on the same thread.
        lease: seconds that a lease lasts.
    """

    def __init__(
        self,
        connections: Connections,
        workloads: Sequence[Workload],
        watchdog: Watchdog,
        *,
        lease: float,
    ) -> None:
        self._connections = connections
        self._watchdog = watchdog
        self._lease = lease
        self._links: dict[int, ThreadLink] = {}
        self._kept = [
            (workload, Renewals(workload.store.place, workload.worker_id, self._link_for))
            for workload in workloads
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="castwork-lease", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lease):
                await self._ended.wait()

    def _link_for(self, slot: int) -> ThreadLink:
        """The thread's connection for a slot; where one server has all slots, one for all."""
        served = 0 if self._connections.joins_slots else slot
        if served not in self._links:
            self._links[served] = self._connections.thread_link(slot, self._lease / 3)
        return self._links[served]

    def _run(self) -> None:
        next_renewal = time.monotonic() + self._lease / 3
        tick = min(0.5, self._lease / 6)
        while not self._stop.wait(tick):
            try:
                self._watchdog.check()
                if time.monotonic() < next_renewal:
                    continue
                self.renew()
            except Exception as error:
                # Try again well before the leases end, as they may outlive a short outage.
                logger.warning("leases were not renewed: %s", error)
                next_renewal = time.monotonic() + self._lease / 10
                continue
            next_renewal = time.monotonic() + self._lease / 3
        for link in self._links.values():
            link.close()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set)

    def renew(self) -> int:
        """Renew all leases once, and return how many were lost.

        A failure at one queue does not keep the other queues from their renewal.

        Raises:
            CastworkError, OSError: the last failure, once all queues have had their turn.
        """
        lost, failure = 0, None
        for workload, renewals in self._kept:
            try:
                lost += self._renew(workload, renewals)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure
        return lost

    def _renew(self, workload: Workload, renewals: Renewals) -> int:
        lost, now = 0, self._loop.time()
        for lane in range(len(workload.held)):
            attempts = [
                attempt
                for attempt in list(workload.held[lane].values())
                if not attempt.deadline or now <= attempt.deadline + 1.0
            ]
            for start in range(0, len(attempts), _GROUP):
                group = attempts[start : start + _GROUP]
                for position in renewals.renew(lane, group):
                    self._loop.call_soon_threadsafe(self._end_lost, workload, group[position])
                    lost += 1
        workload.renewed_at = time.monotonic()
        return lost

    def _end_lost(self, workload: Workload, attempt: Attempt) -> None:
        # A stored outcome also ends the lease; such an attempt is not held any more.
        if workload.held[attempt.lane].get(attempt.entry_id) is attempt and not attempt.finished:
            noun = workload.queue.noun
            logger.warning("%s %s: the lease is lost, ending it here", noun, attempt.task_id)
            attempt.end(Ending.LOST)
