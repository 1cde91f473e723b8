"""What an outcome writes: records, the entry under which a task waits again, the dead letter."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from tests.worker.attempts import ENTRY_ID, NONCE, TASK_ID, declare, make_attempt

from castwork.model.entry import Meta, parse_entry
from castwork.model.record import ErrorInfo, decode_record
from castwork.model.states import Priority, TaskState
from castwork.worker.outcome import Finish, before_start
from castwork.worker.written import (
    dead_record,
    final_record,
    held_entry,
    letter_of,
    next_entry,
    waiting_record,
)

ENQUEUED_AT = int(ENTRY_ID.split(b"-")[0])
NO = ErrorInfo("ValueError", "no", attempt=1, worker="w")


def undated(errors: Sequence[ErrorInfo]) -> list[ErrorInfo]:
    """Failures without the times of their attempts."""
    return [msgspec.structs.replace(one, started_at=None, finished_at=None) for one in errors]


def errors(*numbers: int) -> list[ErrorInfo]:
    return [ErrorInfo("E", str(number)) for number in numbers]


# -- the entry under which it waits again ---------------------------------------------------


def test_entry_that_waits_again_names_its_id_and_its_first_time() -> None:
    entry = next_entry(make_attempt(), NO, uncounted=0)

    assert (entry.id, entry.at, entry.nonce) == (TASK_ID, ENQUEUED_AT, NONCE)
    assert (entry.task, entry.args) == (b"work", b'{"number":7}')


def test_entry_that_named_them_already_keeps_them() -> None:
    attempt = make_attempt(task_id="q:mine", at=1234)
    entry = next_entry(attempt, NO, uncounted=0)

    assert (entry.id, entry.at) == ("q:mine", 1234)


def test_failed_attempt_is_counted_and_its_error_kept() -> None:
    meta = Meta(attempts=1, errors=errors(1), owner="eve", headers={"trace": "7"}, expires_ms=5)
    entry = next_entry(make_attempt(deliveries=2, meta=meta), NO, uncounted=0)

    assert entry.meta is not None
    assert entry.meta == Meta(
        attempts=3,
        uncounted=1,
        errors=[*errors(1), entry.meta.errors[-1]],
        owner="eve",
        headers={"trace": "7"},
        expires_ms=5,
    )
    assert undated(entry.meta.errors) == [*errors(1), NO]


def test_last_five_errors_are_kept() -> None:
    meta = Meta(attempts=5, errors=errors(1, 2, 3, 4, 5))
    entry = next_entry(make_attempt(meta=meta), NO, uncounted=0)

    assert entry.meta is not None
    assert undated(entry.meta.errors) == [*errors(2, 3, 4, 5), NO]
    assert entry.meta.errors[-1].finished_at is not None
    assert meta.errors == errors(1, 2, 3, 4, 5), "the attempt's own are left alone"


def test_attempt_that_was_stopped_keeps_its_number_and_does_not_count() -> None:
    entry = next_entry(make_attempt(deliveries=2), None, uncounted=1)

    assert entry.meta == Meta(attempts=2, uncounted=2), "its lost worker does not count either"


def test_only_attempts_that_were_begun_are_told() -> None:
    attempt = make_attempt(deliveries=2)
    lane = attempt.runnable.function.queue.lanes[1]  # type: ignore[union-attr]
    before = decode_record(dead_record(attempt, NO, "w")), letter_of(attempt, NO, lane)
    attempt.started_at = 1.0
    after = decode_record(dead_record(attempt, NO, "w")), letter_of(attempt, NO, lane)

    assert [one.attempts for one in before] == [1, 1]
    assert [one.attempts for one in after] == [2, 2]


def test_attempt_that_never_started_leaves_no_trace() -> None:
    assert next_entry(make_attempt(), None, uncounted=1, started=False).meta is None
    later = make_attempt(deliveries=2, meta=Meta(attempts=1, uncounted=1, errors=errors(1)))
    entry = next_entry(later, None, uncounted=1, started=False)
    assert entry.meta == Meta(attempts=2, uncounted=2, errors=errors(1)), "the crash does not count"


def test_entry_of_an_adopted_stream_waits_on_as_one_of_castworks_own() -> None:
    attempt = make_attempt(declare(stream="events", group="g"), lane=3, task_id="events:g:1-1")
    entry = next_entry(attempt, NO, uncounted=0)

    assert (entry.id, entry.at, entry.nonce) == ("events:g:1-1", ENQUEUED_AT, b"-")
    assert entry.args == b'{"number":7}'


def test_entry_that_waits_again_reads_as_it_was_written() -> None:
    attempt = make_attempt(meta=Meta(labels={"a": "b"}, max_attempts=9, timeout=2.5))
    entry = next_entry(attempt, NO, uncounted=1)
    fields = [f if isinstance(f, bytes) else f.encode() for f in entry.fields()]

    assert parse_entry([*fields, b"at", str(entry.at).encode()]) == entry


# -- records and letters --------------------------------------------------------------------


def test_final_record_tells_what_there_is_to_tell() -> None:
    attempt = make_attempt(deliveries=2)
    attempt.started_at = 10.0
    record = decode_record(final_record(attempt, Finish(TaskState.SUCCEEDED, b"[1]"), "w", 11.5))

    assert (record.status, record.task, record.attempts) == (TaskState.SUCCEEDED, "work", 2)
    assert (record.worker, record.started_at, record.finished_at) == ("w", 10.0, 11.5)
    assert (record.value, record.error, record.v) == ([1], None, 1)


def test_final_record_of_an_entry_that_was_not_understood_names_what_it_can() -> None:
    attempt = make_attempt()
    attempt.runnable = None
    known = decode_record(final_record(attempt, Finish(TaskState.CANCELLED), "w", 1.0))
    attempt.fields = [b"nonsense", b"1"]
    unknown = decode_record(final_record(attempt, Finish(TaskState.CANCELLED), "w", 1.0))

    assert (known.task, unknown.task) == ("work", "")


def test_record_of_a_task_that_waits_tells_why() -> None:
    parked, queued = map(decode_record, waiting_record(make_attempt(), NO, "w"))

    assert (parked.status, queued.status) == (TaskState.SCHEDULED, TaskState.QUEUED)
    assert parked.error == queued.error == NO
    assert parked.attempts == queued.attempts == 1


@pytest.mark.parametrize("lane", [0, 1, 2])
def test_letter_holds_the_entry_byte_for_byte_and_the_last_five_errors(lane: int) -> None:
    attempt = make_attempt(meta=Meta(attempts=5, errors=errors(1, 2, 3, 4, 5)), lane=lane)
    declared = attempt.runnable.function.queue.lanes[lane]  # type: ignore[union-attr]
    letter = letter_of(attempt, NO, declared)

    assert letter.fields == attempt.fields
    assert undated(letter.errors) == [*errors(2, 3, 4, 5), NO]
    assert (letter.task_id, letter.task, letter.attempts) == (TASK_ID, "work", 5)
    assert letter.lane == ("high", "normal", "low")[lane]
    record = decode_record(dead_record(attempt, NO, "w"))
    assert (record.status, record.attempts, record.error) == (TaskState.DEAD, 5, NO)


# -- the entry under which it waits for a limit ---------------------------------------------


def test_entry_that_is_held_back_is_no_attempt_and_keeps_its_lane() -> None:
    attempt = make_attempt(lane=2)
    entry = held_entry(attempt, attempt.runnable.function.queue.lanes[2])

    assert entry.meta == Meta(lane=Priority.LOW)
    again = make_attempt(lane=0, meta=entry.meta)
    assert (again.number, again.counted) == (1, 1)
    assert letter_of(again, NO, again.runnable.function.queue.lanes[0]).lane == "low"


def test_entry_that_is_held_back_counts_the_workers_that_were_lost_with_it() -> None:
    """Else a task that kills its workers, and waits for a limit between, would go on for ever."""
    lanes, meta = make_attempt().runnable.function.queue.lanes, None
    for lost in range(4):
        attempt = make_attempt(deliveries=1 if not lost else 2, meta=meta)
        assert (attempt.crashes, attempt.counted) == (lost, 1)
        assert (before_start(attempt, 0) is not None) == (lost == 3)
        meta = held_entry(attempt, lanes[1]).meta
    entry = next_entry(attempt, None, uncounted=0, started=False)
    assert entry.meta is not None
    assert (entry.meta.crashes, entry.meta.uncounted) == (0, 3)
