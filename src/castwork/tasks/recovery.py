"""Recovery: takes over tasks whose lease has run out."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from castwork.model.errors import AuthenticationFailed, ConnectionFailed, ServerRefused
from castwork.redis.replies import NoGroup
from castwork.redis.scripts import RECOVER, RETIRE, Scripts
from castwork.tasks.attempt import Attempt
from castwork.tasks.serving import Serving

logger = logging.getLogger(__name__)

#: Entries claimed per call at most; the server examines ten times as many.
_COUNT = 10

#: Milliseconds after which an idle consumer without tasks is forgotten.
_FORGET_AFTER_MS = 3_600_000

#: Passes between looks for consumers to forget.
_RETIRE_EVERY = 20


class Recovery:
    """Gives the tasks of lost workers another attempt.

    A task is lost when its lease was not renewed for `lease` seconds, by the server's clock.
    The cursor is kept between passes and counts are small, so that a pass over a million
    pending tasks never blocks the server; jitter keeps the workers apart.

    Args:
        start: takes each claimed attempt.
    """

    def __init__(
        self,
        serving: Serving,
        scripts: Scripts,
        *,
        lease: float,
        start: Callable[[Attempt, int], None],
    ) -> None:
        self._queue = serving.queue
        self._consumer = serving.worker
        self._slots = serving.slots
        self._scripts = scripts
        self._lease = lease
        self._start = start
        self._cursors = ["0-0"] * len(serving.queue.lanes)
        self._passes = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._lease * random.uniform(0.15, 0.35))
            try:
                await self.sweep()
                self._passes += 1
                if self._passes % _RETIRE_EVERY == 0:
                    await self.retire("")
            except NoGroup:
                logger.debug("queue %s: no group to sweep yet", self._queue.name)
            except (AuthenticationFailed, ConnectionFailed, ServerRefused) as error:
                logger.warning("queue %s: not swept: %s", self._queue.name, error)

    async def sweep(self) -> int:
        """Take over lost tasks, at most as many as there are free slots; return the number."""
        found = 0
        for i, lane in enumerate(self._queue.lanes):
            free = min(self._slots.free, _COUNT)
            if free <= 0:
                break
            # A lost reply leaves entries claimed for us: their lease runs out once more.
            args = [lane.group, self._consumer, int(self._lease * 1000), self._cursors[i], free]
            with self._slots.reserve(free):
                reply = await self._scripts.run(RECOVER, [lane.stream], args)
            self._cursors[i] = reply[0].decode()
            for entry_id, fields, deliveries in reply[1:]:
                found += 1
                attempt = Attempt(self._queue, i + 1, entry_id, deliveries, fields)
                logger.warning(
                    "queue %s: entry %s was left by a lost worker", self._queue.name, entry_id
                )
                self._start(attempt, 0)
        return found

    async def retire(self, consumer: str) -> None:
        """Forget a consumer that is done, and those idle for an hour without tasks."""
        for lane in self._queue.lanes:
            args = [lane.group, consumer, _FORGET_AFTER_MS]
            await self._scripts.run(RETIRE, [lane.stream], args)
