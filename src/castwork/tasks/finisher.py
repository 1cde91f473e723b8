"""Finisher: stores outcomes. Those that are ready together go in one script call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from castwork.model.codec import encode
from castwork.model.entry import Entry, Meta
from castwork.model.errors import ConnectionFailed, NotOpen, ServerRefused
from castwork.model.record import ErrorInfo, Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.redis.scripts import BURY, FINISH, RELEASE, RETRY, Script, Scripts
from castwork.tasks.attempt import Attempt, Held
from castwork.tasks.outcome import Bury, Drop, Finish, Outcome, Park, Release
from castwork.tasks.producer import parked_json
from castwork.tasks.queue import Queue
from castwork.tasks.slots import Slots

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
        queue: Queue,
        worker: str,
        scripts: Scripts,
        slots: Slots,
        held: Held,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._scripts = scripts
        self._slots = slots
        self._held = held
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
                self._final_record(attempt, outcome, now),
                int(ttl * 1000),
            )
        stored = await self._scripts.run(FINISH, keys, args)
        for (attempt, outcome), accepted in zip(group, stored, strict=True):
            if accepted:
                self._accepted(attempt, outcome.state)
            else:
                self._refused(attempt)
        return sum(stored)

    def _final_record(self, attempt: Attempt, outcome: Finish, now: float) -> bytes:
        if not self._queue.keeps_records:
            return b""
        return encode_record(
            Record(
                outcome.state,
                attempt.entry.task if attempt.entry is not None else "",
                "",
                attempt.number,
                self._worker,
                attempt.started_at,
                now,
                msgspec.Raw(outcome.result) if outcome.result is not None else msgspec.UNSET,
                outcome.error,
            )
        )

    async def _store(self, attempt: Attempt, outcome: Park | Bury | Release) -> None:
        """Store an outcome that has a script of its own."""
        if isinstance(outcome, Park):
            script, keys, args = self._park(attempt, outcome)
        elif isinstance(outcome, Bury):
            script, keys, args = self._bury(attempt, outcome)
        else:
            script, keys, args = self._release(attempt, outcome)

        async def send() -> None:
            if await self._scripts.run(script, keys, args):
                self._accepted(attempt, script.name)
            else:
                self._refused(attempt)

        await self._until_answered(send, [attempt])

    def _fence(self, attempt: Attempt) -> list[Any]:
        lane = attempt.lane
        return [lane.group, self._worker, attempt.entry_id, attempt.deliveries, int(lane.owned)]

    def _park(self, attempt: Attempt, outcome: Park) -> tuple[Script, list[str], list[Any]]:
        keys = self._queue.keys
        entry = self._next_entry(attempt, outcome.error, spared=0)
        lane = _own_lane(attempt)
        delay_ms = int(outcome.delay * 1000)
        if entry.meta is not None and entry.meta.expires_ms:
            entry.meta.expires_ms = max(1, entry.meta.expires_ms - delay_ms)
        queued = scheduled = None
        if self._queue.keeps_records:
            about = {"attempts": attempt.number, "worker": self._worker, "error": outcome.error}
            queued = Record(TaskState.QUEUED, entry.task, **about)  # type: ignore[arg-type]
            scheduled = Record(TaskState.SCHEDULED, entry.task, **about)  # type: ignore[arg-type]
        args = [
            *self._fence(attempt),
            entry.id,
            delay_ms,
            parked_json(entry, lane, queued),
            encode_record(scheduled) if scheduled is not None else b"",
        ]
        names = [attempt.lane.stream, keys.record(entry.id), keys.scheduled, keys.parked]
        return RETRY, names, args

    def _bury(self, attempt: Attempt, outcome: Bury) -> tuple[Script, list[str], list[Any]]:
        keys = self._queue.keys
        record = Record(
            TaskState.DEAD,
            attempt.entry.task if attempt.entry is not None else "",
            attempts=attempt.number,
            worker=self._worker,
            started_at=attempt.started_at,
            finished_at=time.time(),
            error=outcome.error,
        )
        letter: list[Any] = [
            "id",
            attempt.task_id,
            "attempts",
            attempt.number,
            "lane",
            attempt.lane.name,
            "errors",
            encode([*_errors(attempt), outcome.error][-_ERRORS_KEPT:]),
        ]
        for name, value in zip(attempt.fields[::2], attempt.fields[1::2], strict=False):
            letter += (b"entry." + name, value)
        args = [*self._fence(attempt), encode_record(record), *letter]
        logger.warning(
            "task %s is dead after %d attempts: %s: %s",
            attempt.task_id,
            attempt.number,
            outcome.error.type,
            outcome.error.message,
        )
        return BURY, [attempt.lane.stream, keys.record(attempt.task_id), keys.dead], args

    def _release(self, attempt: Attempt, outcome: Release) -> tuple[Script, list[str], list[Any]]:
        entry = self._next_entry(attempt, None, spared=1, started=outcome.started)
        lane = _own_lane(attempt)
        stream = self._queue.lane_of(lane)
        record = b""
        if self._queue.keeps_records:
            attempts = attempt.number if outcome.started else attempt.number - 1
            waiting = Record(TaskState.QUEUED, entry.task, f"{lane.value}:*", attempts)
            record = encode_record(waiting)
        args = [*self._fence(attempt), record, *entry.fields()]
        return RELEASE, [attempt.lane.stream, stream, self._queue.keys.record(entry.id)], args

    def _next_entry(
        self, attempt: Attempt, error: ErrorInfo | None, *, spared: int, started: bool = True
    ) -> Entry:
        """The entry under which the task waits again; it remembers its attempts."""
        entry = attempt.entry
        assert entry is not None
        old = entry.meta or Meta()
        if not started:
            # This delivery never happened for the task.
            meta = msgspec.structs.replace(old, attempts=attempt.number - 1)
        else:
            errors = [*_errors(attempt), *([error] if error is not None else [])]
            meta = msgspec.structs.replace(
                old,
                attempts=attempt.number,
                spared=old.spared + spared,
                errors=errors[-_ERRORS_KEPT:],
            )
        return Entry(entry.task, entry.id, entry.args, None if meta == Meta() else meta)

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
                    "the server refused the outcome of %s; the tasks come back after their"
                    " lease",
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


def _own_lane(attempt: Attempt) -> Priority:
    """The lane that a task goes back to; one from an adopted stream goes to ours."""
    name = attempt.lane.name
    return Priority.NORMAL if name == "stream" else Priority(name)


def _errors(attempt: Attempt) -> list[ErrorInfo]:
    meta = attempt.entry.meta if attempt.entry is not None else None
    return list(meta.errors) if meta is not None else []
