"""The record of a task: its status, and its outcome once there is one."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.errors import UndecodableEntry
from castwork.model.states import TaskState

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
    """

    type: str
    message: str = ""
    traceback: str = ""
    attempt: int = 0
    worker: str = ""


def cancelled_error(reason: str) -> ErrorInfo | None:
    """What the record of a cancelled task says of the reason; nothing without one."""
    return ErrorInfo("Cancelled", reason) if reason else None


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
    """

    status: TaskState
    task: str = ""
    attempts: int = 0
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorInfo | None = None

    @property
    def value(self) -> Any:
        """The result as plain Python values, None if there is none."""
        return None if self.result is msgspec.UNSET else msgspec.json.decode(self.result)


class Record(TaskFacts, omit_defaults=True):
    """What Redis holds of a task, under the task's record key.

    Attributes:
        v: version of the format; 0 where the writer named none.
        watched: whether the task is cancelled when nobody watches it any more; while it runs.
    """

    v: int = 0
    watched: bool = False


class TaskStatus(TaskFacts, omit_defaults=True, kw_only=True):
    """What a task's handle tells of it.

    Attributes:
        task_id: the task.
        queue: name of its queue.
        arguments: what the task was called with; told to `on_end` hooks.
        owner: whose task it is; told to `on_end` hooks.
        tenant: the owner's tenant; told to `on_end` hooks.
        labels: what is kept with the task; told to `on_end` hooks.
        parent: id of the task whose code enqueued it; told to `on_end` hooks.
    """

    task_id: str
    queue: str
    arguments: Any = None
    owner: str = ""
    tenant: str = ""
    labels: dict[str, str] = {}
    parent: str = ""


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
    return TaskStatus(
        record.status,
        record.task,
        record.attempts,
        record.worker,
        record.started_at,
        record.finished_at,
        record.result,
        record.error,
        task_id=task_id,
        queue=queue,
    )
