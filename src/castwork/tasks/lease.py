"""LeaseKeeper: renews the leases of running attempts, on a thread with its own connection."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from castwork.redis.address import Address
from castwork.redis.renewal import RenewalConnection
from castwork.tasks.attempt import LOST, Attempt
from castwork.tasks.queue import Lane
from castwork.tasks.serving import Held, Serving

logger = logging.getLogger(__name__)

#: Leases renewed per script call at most: keeps one call short on the server.
_GROUP = 500


class LeaseKeeper:
    """Keeps what this worker runs, even while its event loop is blocked.

    Each third of a lease a script call renews all attempts of a lane, several calls when there
    are many. An attempt whose lease has passed is ended. An attempt that is past its timeout is
    not renewed any more, so that a stuck task comes back; when the loop itself has been blocked
    for that long, `on_stuck` is called, for the process to be replaced.

    Args:
        servings: the queues that are served, and their attempts.
        lease: seconds.
        on_stuck: called on the thread, once.
    """

    def __init__(
        self,
        address: Address,
        worker: str,
        servings: list[Serving],
        *,
        lease: float,
        on_stuck: Callable[[str], None] | None = None,
    ) -> None:
        self._worker = worker
        self._servings = servings
        self._lease = lease
        self._on_stuck = on_stuck
        self._connection = RenewalConnection(address, timeout=lease / 3)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="castwork-lease", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._pulse_at = time.monotonic()
        self._warned = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join, self._lease)

    def _run(self) -> None:
        next_renewal = time.monotonic() + self._lease / 3
        tick = min(0.5, self._lease / 6)
        while not self._stop.wait(tick):
            self._check_pulse()
            if time.monotonic() < next_renewal:
                continue
            try:
                self.renew()
            except Exception as error:
                # The lease may outlive a short outage: try again well before it ends.
                logger.warning("leases were not renewed: %s", error)
                next_renewal = time.monotonic() + self._lease / 10
                continue
            next_renewal = time.monotonic() + self._lease / 3
        self._connection.close()

    def renew(self) -> int:
        """Renew all leases once, and return how many were lost."""
        lost_count = 0
        now = self._loop.time()
        for serving in self._servings:
            lanes: dict[int, list[Attempt]] = {}
            for attempt in serving.held.attempts:
                if not attempt.deadline or now <= attempt.deadline + 1.0:
                    lanes.setdefault(attempt.lane_number, []).append(attempt)
            for number, attempts in lanes.items():
                lane = serving.queue.lanes[number - 1]
                for start in range(0, len(attempts), _GROUP):
                    lost_count += self._renew(serving, lane, attempts[start : start + _GROUP])
        return lost_count

    def _renew(self, serving: Serving, lane: Lane, attempts: list[Attempt]) -> int:
        args: list[Any] = [lane.group, self._worker]
        for attempt in attempts:
            args += (attempt.entry_id, attempt.deliveries)
        lost = self._connection.renew(lane.stream, args)
        for position in lost:
            ended = attempts[position - 1]
            self._loop.call_soon_threadsafe(self._end_lost, serving.held, ended)
        return len(lost)

    def _end_lost(self, held: Held, attempt: Attempt) -> None:
        # An outcome that was stored meanwhile also ends the lease; then nothing is left to end.
        if attempt in held.attempts and not attempt.finished:
            logger.warning("task %s: the lease is lost, ending it here", attempt.task_id)
            attempt.end(LOST)

    def _pulse(self) -> None:
        self._pulse_at = time.monotonic()

    def _check_pulse(self) -> None:
        """Notice a blocked event loop, and name what blocks it."""
        blocked = time.monotonic() - self._pulse_at
        self._loop.call_soon_threadsafe(self._pulse)
        if blocked < 2.0:
            self._warned = False
            return
        if not self._warned:
            self._warned = True
            logger.warning(
                "the event loop has been blocked for %.1f s by %s", blocked, self._culprit()
            )
        deadlines = [a.deadline for s in self._servings for a in list(s.held.attempts)]
        overdue = [d for d in deadlines if d and self._loop.time() > d + self._lease]
        if overdue and blocked > self._lease and self._on_stuck is not None:
            on_stuck, self._on_stuck = self._on_stuck, None
            on_stuck(self._culprit())

    def _culprit(self) -> str:
        """The task whose code runs on the loop right now, and where it stands."""
        frame = sys._current_frames().get(self._loop_thread)
        place = "".join(traceback.format_stack(frame, limit=3)).strip() if frame else "?"
        task = asyncio.current_task(self._loop)
        for serving in self._servings:
            for attempt in list(serving.held.attempts):
                if attempt.runner is task and attempt.entry is not None:
                    return f"task {attempt.task_id} ({attempt.entry.task}):\n{place}"
        return place
