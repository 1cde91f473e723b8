"""Finisher: stores outcomes. Those that are ready together go in one script call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from castwork.model.errors import ConnectionFailed, NotOpen, OutOfMemory
from castwork.redis.scripts import FINISH, Scripts
from castwork.tasks.attempt import Attempt
from castwork.tasks.outcome import Bury, Drop, Finish, Outcome, Park, Release
from castwork.tasks.serving import Serving
from castwork.tasks.transitions import Transitions

logger = logging.getLogger(__name__)

#: An attempt and how its task ends.
Settled = tuple[Attempt, Finish]

#: Milliseconds that the record of a task is kept whose function is not known.
_UNKNOWN_TTL_MS = 3_600_000

#: Outcomes per script call at most: keeps one call short on the server.
_GROUP = 128


class Finisher:
    """Stores what becomes of each attempt of one queue.

    One group is under way at a time: while it is, the next one gathers, so groups grow with
    the load and an idle worker waits for nothing. Every script is fenced and idempotent; it
    is sent again until the server answers, however long that takes.
    """

    def __init__(self, serving: Serving, scripts: Scripts) -> None:
        queue, worker = serving.queue, serving.worker
        self._queue = queue
        self._worker = worker
        self._slots = serving.slots
        self._held = serving.held
        self._scripts = scripts
        self._transitions = Transitions(serving)
        self._ready: list[Settled] = []
        self._committing: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        #: Per lane what the script needs to know of it.
        self._lanes: list[Any] = []
        for lane in queue.lanes:
            self._lanes += (lane.group, int(lane.owned))
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
                # Made once: sent again after a lost reply, a record must be found to be the same.
                send = partial(self._finish, group, *self._finish_call(group))
                await self._until_answered(send, group)
        finally:
            self._committing = None

    def _finish_call(self, group: Sequence[Settled]) -> tuple[list[str], list[Any]]:
        """Keys and arguments of the script that stores a group.

        What tasks in a row have in common is said once: most groups are one run of tasks alike.
        """
        lanes, final_record = self._queue.streams, self._transitions.final_record
        record_key, output_key = self._queue.keys.record, self._queue.keys.output
        keys, outputs = [*lanes, self._queue.keys.entries], []
        entries: list[bytes] = []
        records: list[bytes] = []
        owners: list[int] = []
        runs: list[list[int]] = []
        run: list[int] = []
        now = time.time()
        for number, (attempt, outcome) in enumerate(group, 1):
            function, task_id = attempt.function, attempt.task_id
            ttl_ms = function.result_ttl_ms if function is not None else _UNKNOWN_TTL_MS
            alike = [attempt.lane_number, attempt.deliveries, ttl_ms]
            if alike != run:
                run = alike
                runs.append([*run, 0])
            runs[-1][3] += 1
            keys.append(record_key(task_id))
            entries.append(attempt.entry_id)
            records.append(final_record(attempt, outcome, now))
            if attempt.emitter is not None or attempt.number > 1:
                outputs.append(output_key(task_id))
                owners += (number, ttl_ms)
        held, prefix = len(self._held) + 1, len(record_key(""))
        args: list[Any] = [len(lanes), self._worker, held, len(group), len(runs), prefix]
        args += self._lanes
        for run in runs:
            args += run
        return keys + outputs, args + entries + records + owners

    async def _finish(
        self, group: Sequence[Settled], keys: Sequence[str], args: Sequence[Any]
    ) -> None:
        stored = await self._scripts.run(FINISH, keys, args)
        counts, discard, slots = self.counts, self._held.discard, self._slots
        for (attempt, outcome), accepted in zip(group, stored, strict=True):
            if accepted:
                state = outcome.state
                counts[state] = counts.get(state, 0) + 1
                discard(attempt)
                slots.settle()
            else:
                self._refused(attempt)

    async def _store(self, attempt: Attempt, outcome: Park | Bury | Release) -> None:
        """Store an outcome that has a script of its own."""
        script, keys, args = self._transitions.of(attempt, outcome)

        async def send() -> None:
            if await self._scripts.run(script, keys, args):
                self._settled(attempt, script.name)
            else:
                self._refused(attempt)

        await self._until_answered(send, [(attempt, outcome)])

    async def _until_answered(
        self, send: Callable[[], Awaitable[None]], group: Sequence[tuple[Attempt, Outcome]]
    ) -> None:
        """Send an idempotent script until the server has answered it."""
        while True:
            try:
                await send()
                return
            except ConnectionFailed as error:
                logger.warning("%d outcomes wait for the server: %s", len(group), error)
                await asyncio.sleep(0.2)
            except NotOpen:
                break
            except OutOfMemory as error:
                logger.warning("%d outcomes wait for memory on the server: %s", len(group), error)
                await asyncio.sleep(1.0)
            except Exception:  # whatever it is, its neighbours and their slots must not suffer
                logger.exception(
                    "the server refused the outcome of %s; the tasks come back after their lease",
                    ", ".join(attempt.task_id for attempt, _ in group[:5]),
                )
                break
        for attempt, _ in group:
            self._settled(attempt, "unstored")

    def _refused(self, attempt: Attempt) -> None:
        logger.warning(
            "task %s: attempt %d lost its lease, its outcome is dropped",
            attempt.task_id,
            attempt.number,
        )
        self._settled(attempt, "lease_lost")

    def _settled(self, attempt: Attempt, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._held.discard(attempt)
        self._slots.settle()
