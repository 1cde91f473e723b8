"""The record of a task: its state, and its outcome once there is one."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.errors import UndecodableEntry
from castwork.model.states import TaskState


class ErrorInfo(msgspec.Struct, omit_defaults=True):
    """Why an attempt failed, as plain data.

    Attributes:
        type: name of the exception's class.
        message: its text.
        traceback: the last frames, for people.
        attempt: the attempt that failed.
        worker: the worker that ran it.
    """

    type: str
    message: str = ""
    traceback: str = ""
    attempt: int = 0
    worker: str = ""


class Record(msgspec.Struct, omit_defaults=True):
    """What Redis holds of a task under `{queue}:task:<id>`.

    Times are seconds since 1970 by the worker's clock: for people, nothing is decided by them.

    Attributes:
        state: the task's state.
        task: name of the task function.
        attempts: deliveries so far.
        worker: the worker of the last attempt.
        started_at: begin of the last attempt.
        finished_at: end of the task.
        result: the result as JSON.
        error: why the last attempt failed.
    """

    state: TaskState
    task: str = ""
    attempts: int = 0
    worker: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorInfo | None = None

    @property
    def value(self) -> Any:
        """The result as plain Python values, None if there is none."""
        return None if self.result is msgspec.UNSET else msgspec.json.decode(self.result)


_decode = msgspec.json.Decoder(Record).decode
encode_record = msgspec.json.Encoder().encode


def decode_record(raw: bytes) -> Record:
    """Decode a record.

    Raises:
        UndecodableEntry: the bytes are not a record.
    """
    try:
        record = _decode(raw)
    except msgspec.MsgspecError as error:
        raise UndecodableEntry(f"not a task record: {error}: {raw[:200]!r}") from error
    if record.result is not msgspec.UNSET:
        record.result = record.result.copy()  # do not keep the whole reply alive
    return record
