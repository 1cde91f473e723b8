"""Chunk: one streamed piece of a task's output, and its form in Redis.

A chunk's id is `attempt-number`, which is also its entry's id in the stream. So a worker that lost
its lease cannot write any more: its chunks' ids are below the ids of the next attempt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.codec import encode_value
from castwork.model.errors import InvalidArguments, UndecodableEntry
from castwork.model.position import Position

#: The kind of an item that a task function yields.
CHUNK = "chunk"

#: The kind of a report of progress.
PROGRESS = "progress"

#: The kind of the chunk that voids what earlier attempts wrote.
RESET = "reset"

#: The kind of the chunk that stands where chunks are missing. It is in no stream.
TRIMMED = "trimmed"

#: Kinds that no chunk of a user's own may have: readers over HTTP and sockets get messages of these
#: types beside the chunks.
OWN_KINDS = frozenset(
    {CHUNK, PROGRESS, RESET, TRIMMED, "status", "result", "error"}
    | {"following", "unfollowed", "enqueued", "published"}
    | {"subscribed", "unsubscribed", "event", "resync"}
)


class Chunk(msgspec.Struct, frozen=True):
    """One streamed piece of a task's output.

    Attributes:
        id: `attempt-number`; pass the last one as `after` to go on behind it.
        kind: `chunk`, `progress`, `reset` (a new attempt began, and earlier chunks are void),
            `trimmed` (chunks are missing here, as the output holds a bounded number), or a kind of
            the task's own, see `Context.emit`.
        data: the piece; for progress `{"done": 0.5, "message": "..."}`; for trimmed the ids between
            which chunks are missing, `{"after": "1-3", "before": "1-5003"}`.
    """

    id: str
    kind: str
    data: Any = None

    @property
    def position(self) -> Position:
        """The id as (attempt, number).

        Raises:
            UndecodableEntry: the id is something else.
        """
        return Position.parse(self.id)


class _Live(msgspec.Struct, omit_defaults=True):
    """A chunk as it is announced; its data is already JSON."""

    id: str
    kind: str
    data: msgspec.Raw | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Chunk).decode
_decode_data = msgspec.json.Decoder().decode


def encode_data(chunk: Chunk) -> bytes:
    """The data of a chunk as the stream holds it: JSON, or empty for None.

    Raises:
        InvalidArguments: the data has no JSON form.
    """
    data = chunk.data
    if data is None:
        return b""
    if type(data) is msgspec.Raw:
        return bytes(data)
    try:
        return encode_value(data)
    except Exception as error:
        raise InvalidArguments(
            f"a chunk of kind {chunk.kind!r} has no JSON form: {error}"
        ) from error


def encode_live(chunk: Chunk, data: bytes) -> bytes:
    """The message that announces a chunk, whose data `encode_data` has encoded."""
    return _encode(_Live(chunk.id, chunk.kind, msgspec.Raw(data) if data else None))


def decode_live(payload: bytes) -> Chunk:
    """Read the message that announces a chunk.

    Raises:
        UndecodableEntry: the message is something else.
    """
    try:
        return _decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UndecodableEntry(f"not a chunk: {error}: {payload[:100]!r}") from error


def decode_chunk(position: Position, fields: list[bytes]) -> Chunk:
    """Read a chunk from the stream: its kind is the name of the entry's only field.

    Raises:
        UndecodableEntry: the fields are something else.
    """
    try:
        kind, data = fields
        return Chunk(str(position), kind.decode(), _decode_data(data) if data else None)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UndecodableEntry(f"not a chunk: {error}: {fields!r:.100}") from error


def trimmed(after: Position, before: Position) -> Chunk:
    """The chunk that stands where those between two positions are missing.

    Who goes on behind its id gets the first chunk that is there again.
    """
    last = Position(before.major, max(0, before.minor - 1))
    return Chunk(str(last), TRIMMED, {"after": str(after), "before": str(before)})


def predecessor(chunk: Chunk, position: Position) -> Position | None:
    """The position of the chunk that must come before this one; None where any chunk may.

    Before a `reset` may come any chunk, as it voids them, and before a task's first chunk none.
    """
    if chunk.kind == RESET or position == (1, 1):
        return None
    return Position(position.major, position.minor - 1)
