"""The record of a task: its status, and its outcome once there is one."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.errors import UndecodableEntry
from castwork.model.states import TaskState
from castwork.model.step import Step

#: The version in new records. Readers take any version, and ignore fields that they do not know.
FORMAT = 1


class ErrorInfo(msgspec.Struct, omit_defaults=True):
    """Why an attempt failed, as plain data.

    Attributes:
        type: name of the exception's class.
        message: the exception's text.
        traceback: the last frames, for people.
        attempt: the attempt that failed.
        worker: the worker that ran it.
        started_at: when the attempt began, in seconds since 1970 by that worker's clock.
        finished_at: when it ended.
    """

    type: str
    message: str = ""
    traceback: str = ""
    attempt: int = 0
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None


def cancelled_error(reason: str) -> ErrorInfo | None:
    """What the record of a cancelled task says of the reason; nothing without one."""
    return ErrorInfo("Cancelled", reason) if reason else None


class AttemptStatus(msgspec.Struct, omit_defaults=True):
    """One attempt of a task.

    Attributes:
        number: its number, from 1.
        worker: the worker that ran it.
        started_at: when it began, in seconds since 1970 by that worker's clock; None where that is
            not known.
        finished_at: when it ended; None while it runs.
        error: why it failed; None where it did not.
    """

    number: int
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    error: ErrorInfo | None = None


class TaskFacts(msgspec.Struct, omit_defaults=True):
    """What is known of a task from any side.

    Times are seconds since 1970 by the worker's clock, for people: no decision depends on them.

    Attributes:
        status: what the task is doing.
        task: name of the task function.
        attempts: runs so far.
        worker: the worker of the last attempt.
        started_at: begin of the last attempt.
        finished_at: end of the task.
        result: the result as JSON.
        error: why the last attempt failed.
        owner: whose task it is.
        tenant: the owner's tenant.
        labels: what is kept with the task.
        parent: id of the task whose code enqueued it.
        step: the task's place in a flow; None outside of flows.
    """

    status: TaskState
    task: str = ""
    attempts: int = 0
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorInfo | None = None
    owner: str = ""
    tenant: str = ""
    labels: dict[str, str] = {}
    parent: str = ""
    step: Step | None = None

    @property
    def value(self) -> Any:
        """The result as plain Python values, None if there is none."""
        return None if self.result is msgspec.UNSET else msgspec.json.decode(self.result)


class Record(TaskFacts, omit_defaults=True):
    """What Redis holds of a task, under the task's record key.

    Attributes:
        failures: why attempts before the last failed, newest last.
        v: version of the format; 0 where the writer named none.
        watched: whether the task is cancelled when nobody watches it any more; while it runs.
    """

    failures: list[ErrorInfo] = []
    v: int = 0
    watched: bool = False


class StepStatus(msgspec.Struct, omit_defaults=True):
    """One step of a flow, or the tasks of all items of a `then_each` as one.

    Attributes:
        task: name of the task function.
        queue: name of the queue.
        status: what the step is doing.
        task_id: its task; empty where it stands for several.
        count: how many tasks it stands for; 0 where that is not known yet.
        ended: how many of them have ended.
    """

    task: str
    queue: str
    status: TaskState
    task_id: str = ""
    count: int = 1
    ended: int = 0


class TaskStatus(TaskFacts, omit_defaults=True, kw_only=True):
    """What a task's handle tells of it.

    Attributes:
        task_id: the task.
        queue: name of its queue.
        arguments: what the task was called with; told to `on_end` hooks.
        tries: the attempts, the last five failures among them; the one that runs is the last.
        steps: of a step of a flow, those before it as they are now; told by `status()`.
    """

    task_id: str
    queue: str
    arguments: Any = None
    tries: list[AttemptStatus] = []
    steps: list[StepStatus] = []


_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode


def encode_record(record: Record) -> bytes:
    """Encode a record in the current format, as one line even if its result has several."""
    record.v = FORMAT
    raw = _encode(record)
    # JSON has line breaks only between tokens, where a space means the same.
    if record.result is not msgspec.UNSET and b"\n" in raw:
        return raw.replace(b"\n", b" ")
    return raw


def decode_record(raw: bytes) -> Record:
    """Decode a record.

    Raises:
        UndecodableEntry: the bytes are not a record.
    """
    try:
        record = _decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UndecodableEntry(f"not a task record: {error}: {raw[:200]!r}") from error
    if record.result is not msgspec.UNSET:
        record.result = record.result.copy()  # else it would keep the whole reply in memory
    return record


def status_of(task_id: str, queue: str, record: Record) -> TaskStatus:
    """A record as the status of a task."""
    tries = [
        AttemptStatus(one.attempt, one.worker, one.started_at, one.finished_at, one)
        for one in record.failures
    ]
    if record.started_at is not None:
        tries.append(
            AttemptStatus(
                record.attempts,
                record.worker,
                record.started_at,
                record.finished_at,
                None if record.status is TaskState.RUNNING else record.error,
            )
        )
    return TaskStatus(
        record.status,
        record.task,
        record.attempts,
        record.worker,
        record.started_at,
        record.finished_at,
        record.result,
        record.error,
        record.owner,
        record.tenant,
        record.labels,
        record.parent,
        record.step,
        task_id=task_id,
        queue=queue,
        tries=tries,
    )
