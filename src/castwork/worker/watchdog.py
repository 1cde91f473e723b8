"""Watchdog: notices, from a thread, that the event loop is blocked, and by which code."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Seconds without a turn of the loop after which the log says so.
_BLOCKED_AFTER = 2.0


class Watchdog:
    """Watches the event loop in which it was made.

    Args:
        lease: seconds that a lease lasts.
        on_stuck: called on the thread, once and with the reason, when the loop has been blocked
            for longer than a lease and past a task's timeout: the process should be replaced.
    """

    def __init__(
        self,
        workloads: Sequence[Workload],
        *,
        lease: float,
        on_stuck: Callable[[str], None] | None,
    ) -> None:
        self._workloads = workloads
        self._lease = lease
        self._on_stuck = on_stuck
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._pulse_at = time.monotonic()
        self._warned = False

    def _pulse(self) -> None:
        self._pulse_at = time.monotonic()

    def check(self) -> None:
        """Look, from another thread, whether the loop turns; log the code that blocks it."""
        blocked = time.monotonic() - self._pulse_at
        self._loop.call_soon_threadsafe(self._pulse)
        if blocked < _BLOCKED_AFTER:
            self._warned = False
            return
        if not self._warned:
            self._warned = True
            logger.warning(
                "the event loop has been blocked for %.1f s by %s", blocked, self._culprit()
            )
        deadlines = [a.deadline for workload in self._workloads for a in workload.attempts]
        overdue = [d for d in deadlines if d and self._loop.time() > d + self._lease]
        if overdue and blocked > self._lease and self._on_stuck is not None:
            on_stuck, self._on_stuck = self._on_stuck, None
            on_stuck(f"the event loop is blocked for good by {self._culprit()}")

    def _culprit(self) -> str:
        """The code that runs on the loop right now, with its task if it is a task's."""
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame, limit=3)).strip() if frame else "?"
        task = asyncio.current_task(self._loop)
        for workload in self._workloads:
            for attempt in workload.attempts:
                if attempt.runner is task and attempt.runnable is not None:
                    return f"task {attempt.task_id} ({attempt.task}):\n{stack}"
        return stack
