"""Outcome: decides what becomes of a task after an attempt. Pure functions, no I/O."""

from __future__ import annotations

import asyncio
import traceback

import msgspec

from castwork.model.codec import encode_value
from castwork.model.errors import (
    DefinitionError,
    InvalidArguments,
    LeaseLost,
    NoJsonForm,
    PayloadTooLarge,
    ProcessDied,
)
from castwork.model.option_values import seconds
from castwork.model.position import Position
from castwork.model.record import ErrorInfo, cancelled_error
from castwork.model.safe_text import name_of, safe_text, text_of
from castwork.model.signals import Discard, Retry
from castwork.model.states import TaskState
from castwork.worker.attempt import Attempt, Ending


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The task ends; only its record stays."""

    status: TaskState
    result: bytes | None = None
    error: ErrorInfo | None = None


class Park(msgspec.Struct, frozen=True, gc=False):
    """The task is tried again after `delay` seconds.

    `unknown_ms` is the server's time since when workers do not have the task's function: then the
    attempt does not count. It is 0 after an attempt that failed. `waived` tells that the attempt
    asked not to be counted.
    """

    delay: float
    error: ErrorInfo
    unknown_ms: int = 0
    waived: bool = False


class Bury(msgspec.Struct, frozen=True, gc=False):
    """The task becomes a dead letter."""

    error: ErrorInfo


class Release(msgspec.Struct, frozen=True, gc=False):
    """The task goes back to its queue at once; the attempt does not count.

    `started` tells whether the attempt's code had begun: then no later attempt may have its number.
    """

    started: bool


class Held(msgspec.Struct, frozen=True, gc=False):
    """Nothing is written: the server has parked the task, until a limit has room."""


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Nothing is written: the lease has passed to another worker."""


Outcome = Finish | Park | Bury | Release | Held | Drop


class NotKept:
    """Stands for the result of a stream that has ended well, and whose items are too much to keep.

    Args:
        size: bytes that the result would have.
        limit: bytes that a result may have.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.reason = ErrorInfo(
            "ResultNotKept",
            f"the stream's items make {size:,} bytes, and a result may have {limit:,}: read them"
            " from the output, or raise Limits.result",
        )


#: Workers that may be lost while they hold a task, at least. They do not count against the task's
#: `attempts`, as the task may be the neighbour of the culprit. Who allows more attempts gets as
#: many losses, since machines that are taken away are no fault of the task; who allows one attempt
#: wants no second.
_CRASHES = 3

#: Seconds that a task which is unknown here waits before another worker may claim it: at first, and
#: at most.
_SOONEST, _LATEST = 0.5, 30.0

#: Exceptions of a group that decide before the others, in this order.
_SIGNALS = (LeaseLost, Discard, Retry)

#: Exceptions that another attempt would raise again.
_HOPELESS = (InvalidArguments, NoJsonForm, PayloadTooLarge, DefinitionError)

_UNSAID = (
    "the function returned an async iterator: annotate it with -> AsyncIterator[...], so that its"
    " items are sent"
)

#: Endings that were asked for, so that the exception which an interruption led to is no failure.
_INTERRUPTIONS = (Ending.LOST, Ending.CANCEL, Ending.STOP, Ending.DEADLINE)

#: The outcome of a function that returned None; made once, as short tasks mostly return None.
SUCCEEDED = Finish(TaskState.SUCCEEDED)


def after_value(value: object, limit: int) -> Outcome:
    """What a returned value means: success, unless it cannot be kept as a result.

    Args:
        value: what was returned; for None use `SUCCEEDED`.
        limit: bytes of a result.
    """
    try:
        result = encode_value(value)
        if len(result) > limit:
            raise PayloadTooLarge("the task's result", len(result), limit)
    except Exception as error:
        if isinstance(value, NotKept):
            return Finish(TaskState.SUCCEEDED, error=value.reason)
        if hasattr(value, "__aiter__"):
            return Bury(describe(DefinitionError(_UNSAID)))
        # Too large, or without a JSON form: another attempt would give such a result again.
        return Bury(describe(error))
    return Finish(TaskState.SUCCEEDED, result)


def after_error(attempt: Attempt, error: BaseException, info: ErrorInfo) -> Outcome:
    """The outcome of an attempt whose code raised an exception.

    Args:
        attempt: the attempt.
        error: the exception; of a group of exceptions one decides, see `deciding`.
        info: the exception as `describe` gives it.
    """
    error = deciding(error)
    if isinstance(error, LeaseLost):
        return Drop()
    # Code that is interrupted may turn its CancelledError into another exception.
    if isinstance(error, asyncio.CancelledError) or attempt.ended_by in _INTERRUPTIONS:
        return after_interruption(attempt, info.worker)
    if isinstance(error, Discard):
        return Finish(TaskState.FAILED, error=info)
    # SystemExit and KeyboardInterrupt of a task must not end the worker.
    if isinstance(error, _HOPELESS) or not isinstance(error, Exception):
        return Bury(info)
    if isinstance(error, Retry):
        return _after_retry(attempt, info, error)
    return _after_failure(attempt, info) if _may_retry(attempt, error) else Bury(info)


def _after_retry(attempt: Attempt, info: ErrorInfo, asked: Retry) -> Park | Bury:
    """The outcome of an attempt that asked for another."""
    # Looked at once more: a subclass may set `after` itself.
    after = None if asked.after is None else seconds("after", asked.after)
    if asked.counted is False:
        return Park(_wait(attempt, after), info, waived=True)
    return _after_failure(attempt, info, after)


def _may_retry(attempt: Attempt, error: Exception) -> bool:
    """Whether the function's options let an attempt that ended like this be followed by another."""
    if attempt.runnable is None:
        return False
    if isinstance(error, ProcessDied):  # no exception of the code's, which the options are about
        return True
    settings = attempt.runnable.function.settings
    if settings.retry_on is not None:
        return isinstance(error, settings.retry_on)
    return not isinstance(error, settings.give_up_on)


def _wait(attempt: Attempt, after: float | None) -> float:
    """Seconds until the next attempt; the backoff decides where `after` is None."""
    assert attempt.runnable is not None
    backoff = attempt.runnable.function.settings.backoff
    return backoff.wait(max(1, attempt.counted)) if after is None else after


def after_interruption(attempt: Attempt, worker_id: str) -> Outcome:
    """The outcome of an attempt that was ended from outside, or whose code was cancelled."""
    if attempt.ended_by is Ending.LOST:
        return Drop()
    if attempt.ended_by is Ending.CANCEL:
        return Finish(TaskState.CANCELLED, error=cancelled_error(attempt.cancel_reason))
    if attempt.ended_by is Ending.STOP:
        return Release(started=attempt.started_at is not None)
    if attempt.ended_by is Ending.DEADLINE:
        return _late("its deadline passed while it ran", attempt.number, worker_id)
    if attempt.ended_by is Ending.TIMEOUT:
        kind, message = "TimeoutError", "the attempt took longer than its timeout"
    else:  # no end was asked for: the code awaited something that was cancelled
        kind, message = "CancelledError", "the code was cancelled from within"
    info = ErrorInfo(kind, message, attempt=attempt.number, worker=worker_id)
    if kind == "TimeoutError" and not _may_retry(attempt, TimeoutError(message)):
        return Bury(info)
    return _after_failure(attempt, info)


def before_start(attempt: Attempt, now_ms: int) -> Outcome | None:
    """The outcome of an attempt that must not begin; None for an attempt that may.

    Args:
        attempt: the attempt.
        now_ms: the server's time, 0 if unknown.
    """
    crashes = 1 if attempt.allowed == 1 else max(_CRASHES, attempt.allowed)
    if attempt.crashes >= crashes or attempt.counted > attempt.allowed:
        lost = ErrorInfo(
            "WorkerLost",
            f"attempt {attempt.number - 1} ended with its worker, and no attempt is left",
            attempt=attempt.number - 1,
        )
        return Bury(lost)
    return _expired(attempt, now_ms)


def unknown(attempt: Attempt, error: ErrorInfo, now_ms: int, grace: float) -> Outcome:
    """The outcome of an attempt whose function this worker does not have.

    Other workers get the task, after waits that grow: in a rolling deploy the new ones know it.

    Args:
        attempt: the attempt.
        error: says what is unknown.
        now_ms: the server's time, 0 if unknown.
        grace: seconds for which others may know the task.
    """
    expired = _expired(attempt, now_ms)
    if expired is not None:
        return expired
    now_ms = _time_of(attempt, now_ms)
    since = (attempt.meta.unknown_ms if attempt.meta is not None else 0) or now_ms
    waited = (now_ms - since) / 1000
    if waited >= grace:
        return Bury(error)
    return Park(min(max(_SOONEST, waited), _LATEST, grace - waited), error, since)


def _time_of(attempt: Attempt, now_ms: int) -> int:
    """The server's time: where a blocking read did not tell it, that of the entry, which is new."""
    return max(now_ms, Position.parse(attempt.entry_id).major)


def _expired(attempt: Attempt, now_ms: int) -> Finish | None:
    """The end of an attempt whose task has passed its deadline; None for others."""
    left = seconds_left(attempt, now_ms)
    if left is None or left >= 0:
        return None
    return _late("its deadline passed before a worker could start it")


def seconds_left(attempt: Attempt, now_ms: int) -> float | None:
    """Seconds until the task's deadline, below 0 once it has passed; None without a deadline.

    Args:
        attempt: the attempt, just claimed.
        now_ms: the server's time, 0 if unknown.
    """
    meta = attempt.meta
    if meta is None or not meta.expires_ms:
        return None
    return (attempt.entry().at + meta.expires_ms - _time_of(attempt, now_ms)) / 1000


def _late(message: str, attempt: int = 0, worker_id: str = "") -> Finish:
    error = ErrorInfo("Expired", message, attempt=attempt, worker=worker_id)
    return Finish(TaskState.EXPIRED, error=error)


def _after_failure(attempt: Attempt, error: ErrorInfo, after: float | None = None) -> Park | Bury:
    """Decide between another attempt and the dead letters.

    Args:
        after: seconds to wait, None to let the backoff decide.
    """
    if attempt.counted >= attempt.allowed or attempt.runnable is None:
        return Bury(error)
    return Park(_wait(attempt, after), error)


def describe(exception: BaseException, *, attempt: int = 0, worker_id: str = "") -> ErrorInfo:
    """An exception as data, with the last frames of its traceback. Raises nothing itself."""
    cause = deciding(exception)
    return ErrorInfo(
        type=name_of(cause),
        message=text_of(cause)[:2000],
        traceback=safe_text(lambda: _frames(exception))[-4000:],
        attempt=attempt,
        worker=worker_id,
    )


def _frames(exception: BaseException) -> str:
    return "".join(traceback.format_exception(exception, limit=-8))


def deciding(error: BaseException) -> BaseException:
    """Of a group of exceptions, as an `asyncio.TaskGroup` raises, the exception that decides.

    It is the first that says what becomes of the task: that its lease is lost, else `Discard`, else
    `Retry`; without such a signal it is the first of all.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    found: list[BaseException] = []
    inside: list[BaseException] = [error]
    while inside:
        one = inside.pop()
        if isinstance(one, BaseExceptionGroup):
            inside += reversed(one.exceptions)
        else:
            found.append(one)
    return next((one for kind in _SIGNALS for one in found if isinstance(one, kind)), found[0])
