"""What a worker and its child processes tell one another, over a pair of sockets.

A message is four bytes that mark it, four with its length, then msgpack. A child runs one call at a
time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.entry import Meta
from castwork.tasks.declared import Place


class Setup(msgspec.Struct, tag=True):
    """The worker's first word.

    Attributes:
        preparation: how the program is loaded again, as `multiprocessing` has it, pickled.
        modules: modules to import before the first call.
        level: the level from which on logs are wanted.
    """

    preparation: bytes
    modules: list[str]
    level: int


class Begin(msgspec.Struct, tag=True):
    """The worker has a call.

    Attributes:
        place: where the function is declared.
        address: URL of the server in place of the app's own; empty for none.
        args: the arguments as JSON.
        task_id, queue, number, allowed, counted, meta, checkpoint: as of the attempt.
        deadline: seconds until the attempt is ended; None for no bound.
        expires: seconds until the task's deadline; None for none.
    """

    place: Place
    address: str
    args: bytes
    task_id: str
    queue: str
    number: int
    allowed: int
    counted: int
    meta: Meta | None
    checkpoint: bytes | None
    deadline: float | None
    expires: float | None


class End(msgspec.Struct, tag=True):
    """The worker ends the call from outside, for a reason of `Ending`."""

    reason: str
    cancel_reason: str


class Failure(msgspec.Struct):
    """An exception.

    Attributes:
        pickled: the exception itself; empty where it cannot be pickled.
        type: name of its class.
        message: its text.
        traceback: its traceback, as text.
    """

    pickled: bytes
    type: str
    message: str
    traceback: str


class Answer(msgspec.Struct, tag=True):
    """What came of something that the call has asked for."""

    number: int
    failure: Failure | None = None


class Emit(msgspec.Struct, tag=True):
    """The call writes a chunk, whose data is JSON."""

    kind: str
    data: bytes


class Save(msgspec.Struct, tag=True):
    """The call saves its state, as JSON."""

    state: bytes


class Lend(msgspec.Struct, tag=True):
    """The call waits for another task."""


class TakeBack(msgspec.Struct, tag=True):
    """The call goes on."""


Request = Emit | Save | Lend | TakeBack


class Ask(msgspec.Struct, tag=True):
    """The call asks for something; an `Answer` with the number follows."""

    number: int
    what: Request


class Ready(msgspec.Struct, tag=True):
    """The child takes calls."""


class Done(msgspec.Struct, tag=True):
    """The call has returned.

    Attributes:
        result: the result as JSON; None where nothing was returned.
        memory: megabytes that the child has.
    """

    result: bytes | None
    memory: int


class Failed(msgspec.Struct, tag=True):
    """The call has raised an exception. `memory` is as of `Done`."""

    failure: Failure
    memory: int


class Log(msgspec.Struct, tag=True):
    """The child has something for the worker's logs.

    Attributes:
        name, level, message: of a `LogRecord`.
        record: its fields, pickled; empty where they cannot be pickled.
    """

    name: str
    level: int
    message: str
    record: bytes


ToChild = Setup | Begin | End | Answer
ToWorker = Ready | Ask | Done | Failed | Log

_encoder = msgspec.msgpack.Encoder()
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
decode_for_child = _to_child.decode
decode_for_worker = _to_worker.decode

#: Stands before each message: what a task's code writes into the socket by mistake has none.
_MARK = b"cw\x00\x01"

#: Bytes in front of each message: the mark, and the length.
PREFIX = len(_MARK) + 4


def framed(message: Any) -> bytes:
    """A message as it is sent."""
    encoded = _encoder.encode(message)
    return _MARK + len(encoded).to_bytes(4, "big") + encoded


def size_of(prefix: bytes) -> int:
    """The length of the message behind a prefix.

    Raises:
        ValueError: what comes is no message.
    """
    if not prefix.startswith(_MARK):
        raise ValueError(f"no message begins with {prefix!r}")
    return int.from_bytes(prefix[len(_MARK) :], "big")
