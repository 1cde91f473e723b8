from __future__ import annotations

import pytest

from castwork import Backoff, Discard, Retry
from castwork.model.record import ErrorInfo
from castwork.model.states import TaskState
from castwork.tasks.outcome import Bury, Finish, Outcome, Park, after_exception, after_failure

BACKOFF = Backoff(base=4)


def decide(exception: Exception, *, counted: int, allowed: int) -> Outcome:
    return after_exception(
        exception, attempt=counted, worker="w", counted=counted, allowed=allowed, backoff=BACKOFF
    )


def test_a_failure_with_attempts_left_is_parked() -> None:
    outcome = decide(ValueError("no"), counted=1, allowed=3)

    assert isinstance(outcome, Park)
    assert 0 <= outcome.delay <= 4
    assert outcome.error.type == "ValueError"
    assert "ValueError: no" in outcome.error.traceback


@pytest.mark.parametrize("counted", [3, 4])
def test_the_last_failure_is_buried(counted: int) -> None:
    assert isinstance(decide(ValueError(), counted=counted, allowed=3), Bury)


def test_retry_says_when() -> None:
    outcome = decide(Retry("busy", after=7.5), counted=1, allowed=3)

    assert isinstance(outcome, Park)
    assert outcome.delay == 7.5


def test_retry_does_not_lift_the_cap() -> None:
    assert isinstance(decide(Retry("busy", after=1), counted=3, allowed=3), Bury)


def test_discard_ends_at_once() -> None:
    outcome = decide(Discard("no such user"), counted=1, allowed=3)

    assert isinstance(outcome, Finish)
    assert outcome.state is TaskState.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "no such user"


def test_a_wait_of_zero_is_kept() -> None:
    error = ErrorInfo("x")

    outcome = after_failure(error, counted=1, allowed=2, backoff=BACKOFF, after=0.0)

    assert outcome == Park(0.0, error)
