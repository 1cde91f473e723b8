"""Hung: notices that a queue's slots are all taken by plain functions that do not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic

from castwork.worker.attempt import Attempt
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)


class Hung:
    """Looks whether each queue still has a slot for new tasks.

    A thread cannot be interrupted, so that a plain function which hangs keeps its slot. A queue
    whose slots are all taken so gets nothing done here: only a new process helps.

    Args:
        slots: tasks that run at once, of all queues together.
        patience: seconds that the functions may go on after their attempts have ended.
        on_stuck: called, once, with the functions that hang.
    """

    def __init__(
        self,
        workloads: Sequence[Workload],
        *,
        slots: int,
        patience: float,
        on_stuck: Callable[[str], None] | None,
    ) -> None:
        self._workloads = workloads
        self._slots = slots
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
        overdue = [self._overdue(one, now) for one in self._workloads]
        found = ""
        for workload, hung in zip(self._workloads, overdue, strict=True):
            if len(hung) >= workload.capacity:
                found = _say(f"queue {workload.queue.name}", hung)
        if not found and sum(map(len, overdue)) >= self._slots:
            found = _say("the worker", [attempt for hung in overdue for attempt in hung])
        if found and not self._warned:
            logger.error("%s", found)
            if self._on_stuck is not None:
                self._on_stuck(found)
        self._warned = bool(found)
        return found

    def _overdue(self, workload: Workload, now: float) -> list[Attempt]:
        return [a for a, since in workload.lingering.items() if now - since > self._patience]


def _say(where: str, hung: Sequence[Attempt]) -> str:
    names = sorted({attempt.task for attempt in hung})
    return (
        f"{where}: all {len(hung)} slots are taken by functions that go on in threads after their"
        f" attempts have ended: {', '.join(names)}"
    )
