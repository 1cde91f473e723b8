"""What an outcome writes: records, the entry of a task that waits again, the dead letter."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import NamedTuple

import msgspec

from castwork.model.codec import decode_any
from castwork.model.entry import Entry, Meta, with_meta
from castwork.model.queue import Lane, Queue
from castwork.model.record import (
    ErrorInfo,
    Record,
    TaskStatus,
    decode_record,
    encode_record,
    status_of,
)
from castwork.model.states import Priority, TaskState
from castwork.store.letter import Letter
from castwork.worker.attempt import Attempt
from castwork.worker.outcome import Bury, Finish

#: Failures kept with a task.
_ERRORS_KEPT = 5


def final_record(attempt: Attempt, outcome: Finish, worker_id: str, now: float) -> bytes:
    """The record of a task that has ended."""
    result, runnable = outcome.result, attempt.runnable
    record = Record(
        outcome.status,
        attempt.task if runnable is None else runnable.name,
        attempt.runs,
        worker_id,
        attempt.started_at,
        now,
        msgspec.UNSET if result is None else msgspec.Raw(result),
        outcome.error,
    )
    return encode_record(with_meta(record, attempt.meta))


def dead_record(attempt: Attempt, error: ErrorInfo, worker_id: str) -> bytes:
    """The record of a task that becomes a dead letter."""
    record = Record(
        TaskState.DEAD,
        attempt.task,
        attempt.runs,
        worker_id,
        attempt.started_at,
        time.time(),
        error=error,
    )
    return encode_record(with_meta(record, attempt.meta))


class EndedTask(NamedTuple):
    """What is written of one task that has ended.

    Attributes:
        record: its final record.
        ttl_ms: how long the record is kept; None for good, or until somebody lets go of it.
        letter: the dead letter that it becomes; None for none.
        status: what those are told who want to hear of it.
    """

    record: bytes
    ttl_ms: int | None
    letter: Letter | None
    status: TaskStatus


def ended_task(attempt: Attempt, outcome: Finish | Bury, worker_id: str, queue: Queue) -> EndedTask:
    """What is written of a task that has ended, by itself."""
    letter, ttl_ms = None, None
    if isinstance(outcome, Bury):
        record = dead_record(attempt, outcome.error, worker_id)
        letter = letter_of(attempt, outcome.error, queue.lanes[attempt.lane])
    else:
        record = final_record(attempt, outcome, worker_id, time.time())
        if attempt.meta is None or attempt.meta.step is None or not attempt.meta.step.next:
            ttl_ms = attempt.result_ttl_ms  # the step that waits for the task lets go of it
    status = status_of(attempt.task_id, queue.name, decode_record(record))
    with suppress(ValueError, RecursionError):
        status.arguments = decode_any(attempt.args)
    return EndedTask(record, ttl_ms, letter, status)


def waiting_record(
    attempt: Attempt, error: ErrorInfo | None, worker_id: str, *, attempts: int | None = None
) -> tuple[bytes, bytes]:
    """The records of a task that waits again: while it is parked, and once it is queued."""
    count = attempt.number if attempts is None else attempts
    record = Record(TaskState.SCHEDULED, attempt.task, count, worker_id, error=error)
    with_meta(record, attempt.meta)
    if error is not None and error.attempt:
        record.failures = failures_of(attempt, error)
    parked = encode_record(record)
    record.status = TaskState.QUEUED
    return parked, encode_record(record)


def failures_of(attempt: Attempt, error: ErrorInfo) -> list[ErrorInfo]:
    """The task's last failures with that of an attempt which ends now, newest last."""
    ended = msgspec.structs.replace(error, started_at=attempt.started_at, finished_at=time.time())
    return [*attempt.errors, ended][-_ERRORS_KEPT:]


def letter_of(attempt: Attempt, error: ErrorInfo, lane: Lane) -> Letter:
    """The dead letter that a task becomes."""
    errors = failures_of(attempt, error)
    own = attempt.meta.lane if attempt.meta is not None else None
    name = lane.name if own is None else own.value
    return Letter("", attempt.task_id, attempt.task, attempt.runs, name, errors, attempt.fields)


def held_entry(attempt: Attempt, lane: Lane) -> Entry:
    """The entry under which a task waits for a limit: this delivery is no attempt of it.

    Workers that were lost with it count on, else a task that kills its workers would go on for
    ever.
    """
    entry = attempt.entry()
    own = attempt.meta.lane if attempt.meta is not None else None
    own = own or lane.priority
    meta = msgspec.structs.replace(
        attempt.meta or Meta(),
        attempts=attempt.number - 1,
        crashes=attempt.crashes,
        lane=None if own is Priority.HIGH else own,
    )
    entry.meta = None if meta == Meta() else meta
    return entry


def next_entry(
    attempt: Attempt,
    error: ErrorInfo | None,
    *,
    uncounted: int,
    started: bool = True,
    unknown_ms: int = 0,
) -> Entry:
    """The entry under which the task waits again, with the attempts and failures so far."""
    entry = attempt.entry()
    old = attempt.meta or Meta()
    if not started:
        # Its code did not run, so this delivery is no attempt of the task.
        meta = msgspec.structs.replace(
            old,
            attempts=attempt.number - 1,
            uncounted=old.uncounted + attempt.crashes,
            crashes=0,
            unknown_ms=unknown_ms,
        )
    else:
        errors = attempt.errors if error is None else failures_of(attempt, error)
        meta = msgspec.structs.replace(
            old,
            attempts=attempt.number,
            uncounted=old.uncounted + attempt.crashes + uncounted,
            crashes=0,
            errors=errors,
            unknown_ms=0,
        )
    entry.meta = None if meta == Meta() else meta
    return entry
