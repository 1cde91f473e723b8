"""What becomes of a task after an attempt: decisions that touch nothing."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.worker.attempts import make_attempt

from castwork import Discard, Retry
from castwork.model.entry import Meta
from castwork.model.errors import DefinitionError, InvalidArguments, LeaseLost
from castwork.model.states import TaskState
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.outcome import (
    Bury,
    Drop,
    Finish,
    Outcome,
    Park,
    Release,
    after_error,
    after_value,
    before_start,
    describe,
)


def after(attempt: Attempt, error: BaseException) -> Outcome:
    return after_error(attempt, error, describe(error, attempt=attempt.number, worker_id="w"))


def test_a_failure_with_attempts_left_is_parked() -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        outcome = after(make_attempt(), error)

    assert isinstance(outcome, Park)
    assert 0 <= outcome.delay <= 4
    assert (outcome.error.type, outcome.error.attempt, outcome.error.worker) == (
        "ValueError",
        1,
        "w",
    )
    assert "ValueError: no" in outcome.error.traceback


@pytest.mark.parametrize("number", [3, 4])
def test_the_last_failure_is_buried(number: int) -> None:
    meta = Meta(attempts=number - 1)
    assert isinstance(after(make_attempt(meta=meta), ValueError()), Bury)


def test_attempts_of_a_call_replace_those_of_the_function() -> None:
    assert isinstance(
        after(make_attempt(meta=Meta(attempts=2, max_attempts=5)), ValueError()), Park
    )
    assert isinstance(
        after(make_attempt(deliveries=1, meta=Meta(max_attempts=1)), ValueError()), Bury
    )


def test_an_attempt_that_was_stopped_does_not_count() -> None:
    assert isinstance(after(make_attempt(meta=Meta(attempts=3, uncounted=2)), ValueError()), Park)


def test_retry_says_when() -> None:
    outcome = after(make_attempt(), Retry("busy", after=7.5))

    assert isinstance(outcome, Park)
    assert outcome.delay == 7.5
    assert after(make_attempt(), Retry(after=0.0)).delay == 0.0  # type: ignore[union-attr]


def test_retry_does_not_lift_the_cap() -> None:
    assert isinstance(after(make_attempt(meta=Meta(attempts=2)), Retry("busy", after=1)), Bury)


def test_a_retry_of_ones_own_says_when_or_leaves_it_to_the_backoff() -> None:
    class Silent(Retry):
        def __init__(self) -> None:  # without the base's
            pass

    class Late(Retry):
        after = "30"  # type: ignore[assignment]

        def __init__(self) -> None:
            pass

    assert isinstance(after(make_attempt(), Silent()), Park)
    with pytest.raises(DefinitionError, match="after is '30'"):  # the runner buries the task
        after(make_attempt(), Late())


def in_task_groups(*errors: BaseException) -> BaseException:
    return BaseExceptionGroup("outer", [BaseExceptionGroup("inner", errors), ValueError("last")])


def test_signals_are_seen_inside_of_groups() -> None:
    discard, retry = Discard("no such user"), Retry("busy", after=7.5)

    discarded = after(make_attempt(), in_task_groups(ValueError("x"), retry, discard))
    assert isinstance(discarded, Finish)
    assert discarded.error is not None
    assert (discarded.error.type, discarded.error.message) == ("Discard", "no such user")
    retried = after(make_attempt(), in_task_groups(ValueError("x"), retry))
    assert isinstance(retried, Park)
    assert (retried.delay, retried.error.message) == (7.5, "busy")
    assert after(make_attempt(), in_task_groups(discard, LeaseLost("gone"))) == Drop()


def test_a_group_of_failures_is_named_by_its_first() -> None:
    outcome = after(make_attempt(), in_task_groups(KeyError("a"), OSError("b")))

    assert isinstance(outcome, Park)
    assert (outcome.error.type, outcome.error.message) == ("KeyError", "'a'")
    assert "OSError: b" in outcome.error.traceback


@pytest.mark.parametrize("raised", [KeyError("x"), SystemExit(1), RecursionError()])
def test_an_exception_without_text_is_described_all_the_same(raised: BaseException) -> None:
    class NoText(Exception):
        def __str__(self) -> str:
            raise raised

    outcome = after(make_attempt(), NoText())

    assert isinstance(outcome, Park)
    assert outcome.error.type == "NoText"
    assert type(raised).__name__ in outcome.error.message


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending.LOST, Drop()),
        (Ending.CANCEL, Finish(TaskState.CANCELLED)),
        (Ending.STOP, Release(started=False)),
    ],
)
def test_what_an_interruption_led_to_is_no_failure(ending: Ending, expected: Outcome) -> None:
    attempt = make_attempt()
    attempt.end(ending)

    assert after(attempt, ValueError("while it cleaned up")) == expected
    assert after(attempt, in_task_groups(ValueError("x"))) == expected


def test_discard_ends_at_once() -> None:
    outcome = after(make_attempt(), Discard("no such user"))

    assert isinstance(outcome, Finish)
    assert outcome.status is TaskState.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "no such user"


@pytest.mark.parametrize("error", [InvalidArguments("x"), SystemExit(1), KeyboardInterrupt()])
def test_what_can_never_run_is_buried_at_once(error: BaseException) -> None:
    assert isinstance(after(make_attempt(), error), Bury)


def test_a_lost_lease_writes_nothing() -> None:
    assert after(make_attempt(), LeaseLost("gone")) == Drop()


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending.LOST, Drop()),
        (Ending.CANCEL, Finish(TaskState.CANCELLED)),
        (Ending.STOP, Release(started=False)),
    ],
)
def test_who_ended_an_attempt_decides_what_it_becomes(ending: Ending, expected: Outcome) -> None:
    attempt = make_attempt()
    attempt.end(ending)
    attempt.end(Ending.TIMEOUT)  # the first one decides

    assert after(attempt, asyncio.CancelledError()) == expected


def test_a_stopped_attempt_knows_whether_its_code_had_begun() -> None:
    attempt = make_attempt()
    attempt.started_at = 1.0
    attempt.end(Ending.STOP)

    assert after(attempt, asyncio.CancelledError()) == Release(started=True)


@pytest.mark.parametrize(
    ("ending", "kind"), [(Ending.TIMEOUT, "TimeoutError"), (Ending.NOT, "CancelledError")]
)
def test_an_interruption_counts_as_a_failure(ending: Ending, kind: str) -> None:
    attempt = make_attempt()
    attempt.ended_by = ending

    outcome = after(attempt, asyncio.CancelledError())
    assert isinstance(outcome, Park)
    assert outcome.error.type == kind


def test_a_value_is_the_result_if_it_can_be_kept() -> None:
    assert after_value({"a": 1}, 100) == Finish(TaskState.SUCCEEDED, b'{"a":1}')
    too_large, no_json = after_value("x" * 100, 100), after_value(object(), 100)
    assert isinstance(too_large, Bury)
    assert isinstance(no_json, Bury)
    assert (too_large.error.type, no_json.error.type) == ("PayloadTooLarge", "NoJsonForm")


def test_an_error_that_utf8_cannot_hold_is_told_all_the_same() -> None:
    outcome = after(make_attempt(), ValueError("bad \ud800"))

    assert isinstance(outcome, Park)
    assert msgspec.json.decode(msgspec.json.encode(outcome.error))["message"] == "bad \\ud800"


# -- before an attempt ----------------------------------------------------------------------


def test_what_ended_its_workers_often_enough_does_not_begin() -> None:
    outcome = before_start(make_attempt(deliveries=4), 0)

    assert isinstance(outcome, Bury)
    assert (outcome.error.type, outcome.error.attempt) == ("WorkerLost", 3)
    assert before_start(make_attempt(deliveries=3), 0) is None


def test_who_allows_more_attempts_allows_more_lost_workers() -> None:
    patient = Meta(max_attempts=5)

    assert before_start(make_attempt(deliveries=5, meta=patient), 0) is None
    assert isinstance(before_start(make_attempt(deliveries=6, meta=patient), 0), Bury)
    hasty = Meta(max_attempts=2)
    assert before_start(make_attempt(deliveries=3, meta=hasty), 0) is None
    assert isinstance(before_start(make_attempt(deliveries=4, meta=hasty), 0), Bury)


def test_what_may_run_once_does_not_begin_a_second_time() -> None:
    once = Meta(max_attempts=1)

    assert isinstance(before_start(make_attempt(deliveries=2, meta=once), 0), Bury)
    assert before_start(make_attempt(deliveries=1, meta=once), 0) is None


def test_lost_workers_use_up_no_attempts() -> None:
    failed_once = Meta(attempts=1)

    assert isinstance(after(make_attempt(deliveries=3, meta=failed_once), ValueError()), Park)
    assert isinstance(after(make_attempt(deliveries=2, meta=Meta(attempts=2)), ValueError()), Bury)


def test_a_deadline_counts_from_the_enqueue() -> None:
    attempt = make_attempt(deliveries=1, meta=Meta(expires_ms=500), entry_id=b"10000-0")

    assert before_start(attempt, 10_500) is None
    late = before_start(attempt, 10_501)
    assert isinstance(late, Finish)
    assert late.status is TaskState.EXPIRED
    assert before_start(attempt, 0) is None, "nobody knows what time it is"


def test_a_deadline_counts_from_the_first_enqueue_of_a_task_that_waits_again() -> None:
    attempt = make_attempt(deliveries=1, meta=Meta(expires_ms=500), entry_id=b"99999-0", at=10_000)

    assert isinstance(before_start(attempt, 10_501), Finish)


def test_an_entry_tells_the_time_where_nobody_else_does() -> None:
    meta = Meta(expires_ms=500)
    in_time = make_attempt(meta=meta, entry_id=b"10500-0", at=10_000)
    late = make_attempt(meta=meta, entry_id=b"10501-0", at=10_000)

    assert before_start(in_time, 0) is None
    assert isinstance(before_start(late, 0), Finish)
