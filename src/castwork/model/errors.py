"""Every error that castwork raises, as one tree.

* CastworkError
  * ServerError                             the server did not do what was asked
    * ConnectionFailed (ConnectionError)    nothing was done, or it is known what was
      * ServerUnavailable                   no server answers at the address
      * EffectUnknown                       the reply was lost; the command may have run
    * AuthenticationFailed                  the password or the ACL refuses us
    * ServerRefused                         the server answered with an error
      * OutOfMemory                         maxmemory is reached and the policy is noeviction
      * PersistenceFailed                   the server cannot save, and refuses writes
  * ServerUnsupported                       the server lacks what castwork needs
  * NotOpen                                 the app is closed, or belongs to another event loop
  * WouldBlock (RuntimeError)               a `_sync` twin was called on an event loop
  * DefinitionError (TypeError)             a decorated function or a channel is declared wrongly
  * InvalidArguments (ValueError)           arguments do not fit the signature
  * NoJsonForm (ValueError)                 a value that JSON cannot carry as it is
  * PayloadTooLarge (ValueError)            arguments, an event or a result over the limit
  * UndecodableEntry (ValueError)           bytes in Redis that are not what they should be
  * UnknownName (LookupError)               nothing of that name is declared here
    * UnknownTask                           no task function of that name
  * TaskNotFound (LookupError)              no record of that task id, or it has passed its TTL
  * AmbiguousId (LookupError)               dead letters of several queues have the id
  * NotEnded                                a task waits or runs, and only an ended one can do that
  * QueueFull                               the queue is at its `max_depth`
  * LockTimeout (TimeoutError)              a lock was not free in time
  * KeyConflict                             the key is a task's that has other arguments
  * PartlyEnqueued                          of many calls some were accepted
  * ResultTimeout (TimeoutError)            no result yet; the task goes on
  * OutputReset                             a new attempt makes the items that were read void
  * OutputTrimmed                           items are missing, as an output is bounded
  * ResultNotKept                           a stream ended well, and has too many items for a result
  * TaskError                               the task ended without a result
    * TaskFailed                            it refused the work (`Discard`)
    * TaskDead                              it ran out of attempts, or can never run
    * TaskCancelled                         it was cancelled
    * TaskExpired                           it passed its deadline before it ended
    * ResultUnreadable                      its result is not of the declared type
  * ProcessDied                             the task's own process ended in the midst of it
  * LeaseLost                               another worker owns the attempt now

`Discard` and `Retry`, which a task function raises, stand outside of the tree: see `signals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class CastworkError(Exception):
    """Base of every error that castwork raises."""


class ServerError(CastworkError):
    """The server did not do what was asked: for loops that log this and go on."""


class ConnectionFailed(ServerError, ConnectionError):
    """The server could not be reached in time; the command had no effect."""


class ServerUnavailable(ConnectionFailed):
    """No server answers at the address."""


class EffectUnknown(ConnectionFailed):
    """The connection broke before the reply came: the command may or may not have run."""


class AuthenticationFailed(ServerError):
    """The server refused the user name, the password or the command's permission."""


class ServerUnsupported(CastworkError):
    """The server is too old, or set up in a way that would lose tasks."""


class ServerRefused(ServerError):
    """The server answered with an error."""


class OutOfMemory(ServerRefused):
    """The server is at `maxmemory`. Nothing was written; running tasks still finish."""


class PersistenceFailed(ServerRefused):
    """The server cannot write to its disk and refuses writes until it can (MISCONF)."""


class NotOpen(CastworkError):
    """The app is closed, or belongs to another event loop."""


class DefinitionError(CastworkError, TypeError):
    """Something is declared in a way that cannot work, or an option has no such value."""


class InvalidArguments(CastworkError, ValueError):
    """The arguments do not fit the task function's signature or the event's type.

    Attributes:
        field: the name of the argument that does not fit, or an empty string.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NoJsonForm(CastworkError, ValueError):
    """A value that JSON cannot carry as it is.

    Attributes:
        path: where in the value, as `$.loss`, or an empty string.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PayloadTooLarge(CastworkError, ValueError):
    """A payload is over the limit; keep it in a store and send its address."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            f"{what} has {size:,} bytes, the limit is {limit:,}: keep large data in a store"
            " of your own and pass its address"
        )
        self.size = size
        self.limit = limit


class UndecodableEntry(CastworkError, ValueError):
    """Bytes read from Redis are not in castwork's format."""


class UnknownName(CastworkError, LookupError):
    """Nothing of that name is declared in this process.

    Attributes:
        close: names that look like it.
    """

    def __init__(self, message: str, close: Sequence[str] = ()) -> None:
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        super().__init__(message + hint)
        self.close = list(close)


class UnknownTask(UnknownName):
    """No task function of that name is registered in this process."""


class TaskNotFound(CastworkError, LookupError):
    """No record of that task: it never was, or its result has passed its TTL."""


class AmbiguousId(CastworkError, LookupError):
    """Dead letters, or schedules, of several queues have the id."""


class NotEnded(CastworkError):
    """The task waits or runs, and was asked for what only an ended one can do."""


class QueueFull(CastworkError):
    """The queue is at its `max_depth`; the task was not accepted.

    Attributes:
        queue: the name of the queue.
        depth: tasks waiting or running when it was refused.
        retry_after: seconds after which a new try makes sense.
    """

    def __init__(self, queue: str, depth: int, *, retry_after: float = 1.0) -> None:
        super().__init__(f"queue {queue!r} is full: {depth:,} tasks; try again later")
        self.queue = queue
        self.depth = depth
        self.retry_after = retry_after


class KeyConflict(CastworkError):
    """The idempotency key is another task's, which has other arguments.

    Attributes:
        task_id: that task.
    """

    def __init__(self, key: str, task_id: str) -> None:
        super().__init__(
            f"key {key!r} is that of task {task_id}, which has other arguments: use another key, or"
            ' key_taken="join" to take that task as it is'
        )
        self.task_id = task_id


class LockTimeout(CastworkError, TimeoutError):
    """The lock was not free in time."""


class WouldBlock(CastworkError, RuntimeError):
    """A twin ending in `_sync` would block the event loop that it was called on."""


class PartlyEnqueued(CastworkError):
    """Of many calls some were accepted, and an error ended the rest; it is the `__cause__`.

    Attributes:
        tasks: per call, in order, the handle on its task; None where the call was not accepted, or,
            if the cause is `EffectUnknown`, may not have been.
    """

    def __init__(self, tasks: Sequence[Any], cause: BaseException) -> None:
        accepted = sum(task is not None for task in tasks)
        super().__init__(
            f"{accepted} of {len(tasks)} calls were accepted, then: {cause}: `tasks` has a handle"
            " for each that was; enqueue the others again"
        )
        self.tasks = list(tasks)


class ResultTimeout(CastworkError, TimeoutError):
    """The result did not come within the timeout. The task is not cancelled by this."""


class OutputReset(CastworkError):
    """A new attempt began after items were taken: what was read is void, the output starts over."""


class OutputTrimmed(CastworkError):
    """Items are missing: the output holds a bounded number, and the older ones are gone."""


class ResultNotKept(CastworkError):
    """The task succeeded, and its items together are over `Limits.result`: read its output.

    Attributes:
        task_id: the task.
    """

    def __init__(self, task_id: str, message: str) -> None:
        super().__init__(f"task {task_id} succeeded: {message}")
        self.task_id = task_id


class TaskError(CastworkError):
    """The task ended without a result.

    Attributes:
        task_id: the task.
        error_type: name of the exception's class, as the worker saw it.
        attempts: runs that it took.
    """

    def __init__(self, task_id: str, error_type: str, message: str, attempts: int) -> None:
        detail = f"{error_type}: {message}" if error_type else message
        times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        super().__init__(f"task {task_id} ({times}): {detail}")
        self.task_id = task_id
        self.error_type = error_type
        self.message = message
        self.attempts = attempts


class TaskFailed(TaskError):
    """The task function refused the work with `Discard`."""


class TaskDead(TaskError):
    """The task ran out of attempts or can never run; it is kept as a dead letter."""


class TaskCancelled(TaskError):
    """The task was cancelled."""


class TaskExpired(TaskError):
    """The task's deadline passed before it had ended."""


class ResultUnreadable(TaskError):
    """The task succeeded, and its result is not of the type that is declared here."""


class RemoteTraceback(Exception):
    """The traceback of another process as text: the cause of an error that came from there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


class ProcessDied(CastworkError):
    """A task's child process ended in the midst of the task; its attempt has failed."""


class LeaseLost(CastworkError):
    """This worker no longer owns the attempt; its outcome was refused."""
