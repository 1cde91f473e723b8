"""Outcomes: what becomes of a task after an attempt. Pure decisions, no I/O."""

from __future__ import annotations

import traceback

import msgspec

from castwork.model.errors import Discard, Retry
from castwork.model.record import ErrorInfo
from castwork.model.retry import Backoff
from castwork.model.states import TaskState


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The task ends; it leaves nothing but its record."""

    state: TaskState
    result: bytes | None = None
    error: ErrorInfo | None = None


class Park(msgspec.Struct, frozen=True, gc=False):
    """The task is tried again after `delay` seconds."""

    delay: float
    error: ErrorInfo


class Bury(msgspec.Struct, frozen=True, gc=False):
    """The task becomes a dead letter."""

    error: ErrorInfo


class Release(msgspec.Struct, frozen=True, gc=False):
    """The task goes back to its queue at once; the attempt does not count.

    `started` tells whether its code had begun, so that its number must not come again.
    """

    started: bool


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Nothing is written: the lease has passed to another worker."""


Outcome = Finish | Park | Bury | Release | Drop


def after_failure(
    error: ErrorInfo, *, counted: int, allowed: int, backoff: Backoff, after: float | None = None
) -> Park | Bury:
    """Decide between another attempt and the dead letters.

    Args:
        counted: attempts so far that count.
        allowed: attempts that the task may have.
        after: seconds to wait, None to let the backoff decide.
    """
    if counted >= allowed:
        return Bury(error)
    return Park(backoff.wait(counted) if after is None else after, error)


def after_exception(
    exception: Exception,
    *,
    attempt: int,
    worker: str,
    counted: int,
    allowed: int,
    backoff: Backoff,
) -> Outcome:
    """Decide what an exception of the task function means."""
    error = describe(exception, attempt=attempt, worker=worker)
    if isinstance(exception, Discard):
        return Finish(TaskState.FAILED, error=error)
    after = exception.after if isinstance(exception, Retry) else None
    return after_failure(error, counted=counted, allowed=allowed, backoff=backoff, after=after)


def describe(exception: BaseException, *, attempt: int, worker: str) -> ErrorInfo:
    """An exception as data, with the last frames of its traceback."""
    frames = "".join(traceback.format_exception(exception, limit=-8))
    return ErrorInfo(
        type=type(exception).__name__,
        message=_encodable(str(exception)[:2000]),
        traceback=_encodable(frames[-4000:]),
        attempt=attempt,
        worker=worker,
    )


def _encodable(text: str) -> str:
    """Text with what UTF-8 cannot hold (lone surrogates) escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
