"""Hung: notices that a queue's slots are all taken by plain functions that do not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic

from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)


class Hung:
    """Looks whether each queue still has a slot for new tasks.

    A thread cannot be interrupted, so that a plain function which hangs keeps its slot. A queue
    whose slots are all taken so gets nothing done here: only a new process helps.

    Args:
        patience: seconds that the functions may go on after their attempts have ended.
        on_stuck: called, once, with the functions that hang.
    """

    def __init__(
        self,
        workloads: Sequence[Workload],
        *,
        patience: float,
        on_stuck: Callable[[str], None] | None,
    ) -> None:
        self._workloads = workloads
        self._patience = patience
        self._on_stuck = on_stuck
        self._warned = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._patience / 4))
            self.check(monotonic())

    def check(self, now: float) -> str:
        """Look at monotonic time `now`; return which functions hang, empty for none."""
        found = next(filter(None, (self._look(one, now) for one in self._workloads)), "")
        if found and not self._warned:
            logger.error("%s", found)
            if self._on_stuck is not None:
                self._on_stuck(found)
        self._warned = bool(found)
        return found

    def _look(self, workload: Workload, now: float) -> str:
        overdue = [a for a, since in workload.lingering.items() if now - since > self._patience]
        if len(overdue) < workload.capacity:
            return ""
        names = sorted({attempt.task for attempt in overdue})
        return (
            f"queue {workload.queue.name}: all {len(overdue)} slots are taken by functions that go"
            f" on in threads after their attempts have ended: {', '.join(names)}"
        )
