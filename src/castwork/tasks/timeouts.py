"""Timeouts: ends attempts that take too long."""

from __future__ import annotations

import asyncio

from castwork.tasks.attempt import TIMEOUT
from castwork.tasks.serving import Held

#: Seconds between looks, and so how late a timeout may come.
_INTERVAL = 0.2


class Timeouts:
    """Looks at the running attempts a few times a second.

    One look over at most `concurrency` attempts costs less than a timer per task.
    """

    def __init__(self, held: list[Held]) -> None:
        self._held = held

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            self.check(asyncio.get_running_loop().time())

    def check(self, now: float) -> int:
        """End what is overdue at loop time `now`, and return how many that were."""
        overdue = [
            attempt
            for held in self._held
            for attempt in held.attempts
            if attempt.deadline and attempt.deadline <= now and not attempt.ended_by
        ]
        for attempt in overdue:
            attempt.end(TIMEOUT)
        return len(overdue)
