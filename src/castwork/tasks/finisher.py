"""Finisher: stores outcomes. Those that are ready together go in one script call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from castwork.model.errors import ConnectionFailed, NotOpen, ServerRefused
from castwork.redis.scripts import FINISH, Scripts
from castwork.tasks.attempt import Attempt
from castwork.tasks.outcome import Bury, Drop, Finish, Outcome, Park, Release
from castwork.tasks.serving import Serving
from castwork.tasks.transitions import Transitions

logger = logging.getLogger(__name__)

#: Outcomes per script call at most: keeps one call short on the server.
_GROUP = 128

#: Failures kept with a task.
_ERRORS_KEPT = 5


class Finisher:
    """Stores what becomes of each attempt of one queue.

    One group is under way at a time: while it is, the next one gathers, so groups grow with
    the load and an idle worker waits for nothing. Every script is fenced and idempotent; it
    is sent again until the server answers, however long that takes.

    Args:
        settled: called with each attempt when its outcome is stored or refused.
    """

    def __init__(
        self,
        serving: Serving,
        scripts: Scripts,
    ) -> None:
        queue, worker = serving.queue, serving.worker
        self._queue = queue
        self._worker = worker
        self._slots = serving.slots
        self._held = serving.held
        self._scripts = scripts
        self._transitions = Transitions(serving)
        self._ready: list[tuple[Attempt, Finish]] = []
        self._committing: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._header = [len(queue.lanes), worker]
        for lane in queue.lanes:
            self._header += (lane.group, int(lane.owned))
        #: Outcomes stored and refused, by kind.
        self.counts: dict[str, int] = {}

    def settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take an attempt's outcome; it is stored soon."""
        if isinstance(outcome, Finish):
            self._ready.append((attempt, outcome))
            if self._committing is None:
                self._committing = self._loop.create_task(self._commit())
        elif isinstance(outcome, Drop):
            self._refused(attempt)
        else:
            task = self._loop.create_task(self._store(attempt, outcome))
            self._others.add(task)
            task.add_done_callback(self._others.discard)

    async def drain(self) -> None:
        """Wait until everything taken so far is stored."""
        while self._committing is not None or self._others:
            waiting = set(self._others)
            if self._committing is not None:
                waiting.add(self._committing)
            await asyncio.wait(waiting)

    async def _commit(self) -> None:
        """Store the outcomes that are ready, group by group, until none is left."""
        try:
            while self._ready:
                group, self._ready = self._ready[:_GROUP], self._ready[_GROUP:]
                await self._until_answered(partial(self.finish, group), [a for a, _ in group])
        finally:
            self._committing = None

    async def finish(self, group: Sequence[tuple[Attempt, Finish]]) -> int:
        """Store one group of outcomes, and return how many were accepted."""
        keys = self._queue.streams
        args: list[Any] = list(self._header)
        final_record = self._transitions.final_record
        record_key, output_key = self._queue.keys.record, self._queue.keys.output
        now = time.time()
        for attempt, outcome in group:
            key = record_key(attempt.task_id)
            emitter = attempt.emitter
            used = emitter is not None and emitter.used
            keys += (key, output_key(attempt.task_id) if used else key)
            function = attempt.function
            ttl = function.settings.result_ttl if function is not None else 3600.0
            args += (
                attempt.lane_number,
                attempt.entry_id,
                attempt.deliveries,
                final_record(attempt, outcome, now),
                int(ttl * 1000),
            )
        stored = await self._scripts.run(FINISH, keys, args)
        for (attempt, outcome), accepted in zip(group, stored, strict=True):
            if accepted:
                self._accepted(attempt, outcome.state)
            else:
                self._refused(attempt)
        return sum(stored)

    async def _store(self, attempt: Attempt, outcome: Park | Bury | Release) -> None:
        """Store an outcome that has a script of its own."""
        script, keys, args = self._transitions.of(attempt, outcome)

        async def send() -> None:
            if await self._scripts.run(script, keys, args):
                self._accepted(attempt, script.name)
            else:
                self._refused(attempt)

        await self._until_answered(send, [attempt])

    async def _until_answered(
        self, send: Callable[[], Awaitable[Any]], attempts: Sequence[Attempt]
    ) -> None:
        """Send an idempotent script until the server has answered it."""
        while True:
            try:
                await send()
                return
            except ConnectionFailed as error:
                logger.warning("%d outcomes wait for the server: %s", len(attempts), error)
                await asyncio.sleep(0.2)
            except NotOpen:
                break
            except ServerRefused:
                logger.exception(
                    "the server refused the outcome of %s; the tasks come back after their lease",
                    ", ".join(a.task_id for a in attempts[:5]),
                )
                break
        for attempt in attempts:
            self._settled(attempt, "unstored")

    def _accepted(self, attempt: Attempt, kind: str) -> None:
        self._settled(attempt, kind)

    def _refused(self, attempt: Attempt) -> None:
        logger.warning(
            "task %s: attempt %d lost its lease, its outcome is dropped",
            attempt.task_id,
            attempt.number,
        )
        self._settled(attempt, "lease_lost")

    def _settled(self, attempt: Attempt, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._held.attempts.discard(attempt)
        self._slots.settle()
