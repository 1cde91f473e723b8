"""Transitions: an attempt and its outcome as a script's keys and arguments."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from castwork.model.codec import encode
from castwork.model.entry import Entry, Meta
from castwork.model.record import ErrorInfo, Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.redis.scripts import BURY, RELEASE, RETRY, Script
from castwork.tasks.attempt import Attempt
from castwork.tasks.outcome import Bury, Finish, Park, Release
from castwork.tasks.producer import parked_json
from castwork.tasks.serving import Serving

logger = logging.getLogger(__name__)

#: Failures kept with a task.
_ERRORS_KEPT = 5

#: A script, its keys, its arguments.
Transition = tuple[Script, list[str], list[Any]]


class Transitions:
    """Knows what each outcome writes; it sends nothing."""

    def __init__(self, serving: Serving) -> None:
        self._queue = serving.queue
        self._worker = serving.worker

    def of(self, attempt: Attempt, outcome: Park | Bury | Release) -> Transition:
        """The transition for an outcome that has a script of its own."""
        if isinstance(outcome, Park):
            return self._park(attempt, outcome)
        if isinstance(outcome, Bury):
            return self._bury(attempt, outcome)
        return self._release(attempt, outcome)

    def final_record(self, attempt: Attempt, outcome: Finish, now: float) -> bytes:
        """The record of a task that has ended; empty where none is stored."""
        if not self._queue.keeps_records:
            return b""
        return encode_record(
            Record(
                outcome.state,
                attempt.entry.task if attempt.entry is not None else "",
                attempt.number,
                self._worker,
                attempt.started_at,
                now,
                msgspec.Raw(outcome.result) if outcome.result is not None else msgspec.UNSET,
                outcome.error,
            )
        )

    def _fence(self, attempt: Attempt) -> list[Any]:
        lane = attempt.lane
        return [lane.group, self._worker, attempt.entry_id, attempt.deliveries, int(lane.owned)]

    def _park(self, attempt: Attempt, outcome: Park) -> Transition:
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
        return RETRY, [*names, keys.entries], args

    def _bury(self, attempt: Attempt, outcome: Bury) -> Transition:
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
            "task",
            attempt.entry.task if attempt.entry is not None else "",
            "attempts",
            attempt.number,
            "lane",
            attempt.lane.name,
            "errors",
            encode([*_errors(attempt), outcome.error][-_ERRORS_KEPT:]),
        ]
        for name, value in zip(attempt.fields[::2], attempt.fields[1::2], strict=False):
            letter += (b"entry." + name, value)
        args = [*self._fence(attempt), attempt.task_id, encode_record(record), *letter]
        logger.warning(
            "task %s is dead after %d attempts: %s: %s",
            attempt.task_id,
            attempt.number,
            outcome.error.type,
            outcome.error.message,
        )
        names = [attempt.lane.stream, keys.record(attempt.task_id), keys.dead, keys.entries]
        return BURY, names, args

    def _release(self, attempt: Attempt, outcome: Release) -> Transition:
        entry = self._next_entry(attempt, None, spared=1, started=outcome.started)
        lane = _own_lane(attempt)
        keys = self._queue.keys
        record = b""
        if self._queue.keeps_records:
            attempts = attempt.number if outcome.started else attempt.number - 1
            record = encode_record(Record(TaskState.QUEUED, entry.task, attempts))
        args = [*self._fence(attempt), entry.id, lane.value, record, *entry.fields()]
        names = [attempt.lane.stream, keys.lanes[lane], keys.record(entry.id), keys.entries]
        return RELEASE, names, args

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


def _own_lane(attempt: Attempt) -> Priority:
    """The lane that a task goes back to; one from an adopted stream goes to ours."""
    name = attempt.lane.name
    return Priority.NORMAL if name == "stream" else Priority(name)


def _errors(attempt: Attempt) -> list[ErrorInfo]:
    meta = attempt.entry.meta if attempt.entry is not None else None
    return list(meta.errors) if meta is not None else []
