"""Timeouts: ends attempts that take too long, or whose task nobody wants any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from castwork.worker.attempt import Ending
from castwork.worker.workload import Workload

#: Seconds between looks; a timeout comes at most so late.
_INTERVAL = 0.2


class Timeouts:
    """Looks at the running attempts a few times a second.

    A look over all running attempts costs less than a timer for each.
    """

    def __init__(self, workloads: Sequence[Workload]) -> None:
        self._workloads = workloads

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            self.check(asyncio.get_running_loop().time())

    def check(self, now: float) -> int:
        """End attempts that are overdue at loop time `now`; return their number."""
        overdue = [
            attempt
            for workload in self._workloads
            for attempt in workload.attempts
            if attempt.deadline and attempt.deadline <= now and not attempt.ended_by
        ]
        for attempt in overdue:
            is_late = 0.0 < attempt.expires <= now
            attempt.end(Ending.DEADLINE if is_late else Ending.TIMEOUT)
        return len(overdue)
