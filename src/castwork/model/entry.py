"""The entry of a task in a stream: what a producer writes and a worker reads.

Fields: `task` (name of the task function), `id` (the task id), `args` (JSON object, the
arguments by name) and optionally `meta` (JSON object, `Meta` below).
"""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.errors import UndecodableEntry
from castwork.model.record import ErrorInfo


class Meta(msgspec.Struct, omit_defaults=True):
    """What a task carries beside its arguments. Absent for a plain task.

    Attributes:
        attempts: deliveries before this entry was written.
        spared: those of them that do not count against the task's attempts (a worker was
            stopped in mid-run).
        expires_ms: milliseconds after the entry's own time when it is too late to start.
        max_attempts: replaces the task function's `attempts`.
        timeout: replaces the task function's `timeout`, in seconds.
        errors: the last failures, newest last.
    """

    attempts: int = 0
    spared: int = 0
    expires_ms: int = 0
    max_attempts: int = 0
    timeout: float = 0.0
    errors: list[ErrorInfo] = []


class Entry(msgspec.Struct):
    """A task as it lies in a stream or waits in `parked`.

    Attributes:
        task: name of the task function.
        id: the task id.
        args: the arguments by name, as JSON.
        meta: the rest, None for a plain task.
    """

    task: str
    id: str
    args: bytes
    meta: Meta | None = None

    def fields(self) -> list[bytes | str]:
        """The entry as names and values for XADD."""
        fields: list[bytes | str] = ["task", self.task, "id", self.id, "args", self.args]
        if self.meta is not None:
            fields += ["meta", encode_meta(self.meta)]
        return fields


encode_meta = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(Meta).decode


def parse_entry(fields: list[bytes]) -> Entry:
    """Read an entry's fields.

    Raises:
        UndecodableEntry: a field is missing or is not what it should be.
    """
    try:
        if len(fields) == 6 and (fields[0], fields[2], fields[4]) == (b"task", b"id", b"args"):
            return Entry(fields[1].decode(), fields[3].decode(), fields[5])
        named = dict(zip(fields[::2], fields[1::2], strict=False))
        meta = named.get(b"meta")
        return Entry(
            named[b"task"].decode(),
            named[b"id"].decode(),
            named.get(b"args", b"{}"),
            _decode_meta(meta) if meta else None,
        )
    except KeyError as error:
        raise UndecodableEntry(f"the entry has no field {error.args[0].decode()!r}") from error
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise UndecodableEntry(f"the entry's fields do not decode: {error}") from error


def plain_fields(fields: list[bytes]) -> dict[str, str]:
    """The fields of a foreign entry as text, for a function that adopts its stream.

    Raises:
        UndecodableEntry: a field is not UTF-8.
    """
    try:
        text = [field.decode() for field in fields]
    except UnicodeDecodeError as error:
        raise UndecodableEntry(f"the entry's fields are not UTF-8: {error}") from error
    return dict(zip(text[::2], text[1::2], strict=True))


def readable(raw: bytes) -> Any:
    """Bytes as text for a dead letter that did not decode; what is not UTF-8 is escaped."""
    return raw.decode("utf-8", "backslashreplace")
