"""Letter: a dead letter as it is kept, read whatever lies there."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from castwork.model.codec import decode_any, encode
from castwork.model.safe_text import text_of

#: Stands before the names of the fields that come from the task's entry.
_PREFIX = b"entry."

#: Fields of an entry that a letter keeps: a script can pass at most 8,000 words to a command.
_MOST_FIELDS = 3900


class Letter(NamedTuple):
    """A dead letter as it is kept.

    Attributes:
        id: id of the dead letter.
        task_id: the task.
        task: name of the task function, as far as it was known.
        attempts: runs that it took.
        lane: the lane of the task's entry.
        errors: the last failures, newest last, as plain values.
        fields: the entry's fields, names and values in turn.
    """

    id: str
    task_id: str
    task: str
    attempts: int
    lane: str
    errors: list[Any]
    fields: list[bytes]

    def as_fields(self) -> list[Any]:
        """The letter as names and values for XADD; the entry's fields are kept byte for byte.

        Of an entry with more than 3,900 fields the first 3,900 are kept.
        """
        flat: list[Any] = ["v", 1, "id", self.task_id, "task", self.task]
        flat += ["attempts", self.attempts, "lane", self.lane, "errors", encode(self.errors)]
        kept = self.fields[: 2 * _MOST_FIELDS]
        for name, value in zip(kept[::2], kept[1::2], strict=False):
            flat += (_PREFIX + name, value)
        return flat


def read_letter(letter_id: bytes, flat: list[bytes]) -> Letter:
    """Read a dead letter.

    One that does not decode, as castwork did not write it, stands there with its own bytes for the
    entry's, so that people see it and can purge it.
    """
    try:
        return _read(letter_id.decode(), flat)
    except (ValueError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        reason = f"the dead letter does not decode: {type(error).__name__}: {text_of(error)[:200]}"
        errors = [{"type": "UndecodableEntry", "message": reason}]
        return Letter(letter_id.decode(), "", "", 0, "", errors, flat)


def _read(letter_id: str, flat: list[bytes]) -> Letter:
    named = dict(zip(flat[::2], flat[1::2], strict=True))
    fields: list[bytes] = []
    for name, value in named.items():
        if name.startswith(_PREFIX):
            fields += (name[len(_PREFIX) :], value)
    errors = decode_any(named[b"errors"])
    if not isinstance(errors, list):
        raise ValueError("`errors` is no list")
    return Letter(
        letter_id,
        named[b"id"].decode(),
        named.get(b"task", b"").decode(),
        int(named[b"attempts"]),
        named[b"lane"].decode(),
        errors,
        fields,
    )
