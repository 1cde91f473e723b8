"""Ids that cannot be guessed. A task's id also names its queue, its entry and its producer.

A made task id is `QUEUE-` and 32 digits of base 32 (RFC 4648's extended hex alphabet, which
`int(text, 32)` reads):

    9 milliseconds   6 count   1 lane   2 partition   6 producer   8 random

The first fifteen are the id of the stream entry, the task's place, so that ids sort by time and
lead to the entry without a lookup. `lane` is `H`, `N` or `L`, or `D` for a task that was delayed or
has a key: only the server knows such a task's entry. `producer` names the Redis channel on which
the outcome is told. An id that the caller chose is `QUEUE:` and the caller's text. That of
an adopted stream's entry is `STREAM:GROUP:` and the entry's own id.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from castwork.model.errors import DefinitionError
from castwork.model.position import Position
from castwork.model.states import Priority

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"

_PAIRS = [a + b for a in DIGITS for b in DIGITS]

_LETTERS = {Priority.HIGH: "H", Priority.NORMAL: "N", Priority.LOW: "L"}
_LANES = {letter: priority for priority, letter in _LETTERS.items()}

_MADE = re.compile(r"-([0-9A-V]{15})([HNLD])([0-9A-V]{2})([0-9A-V]{6})[0-9A-V]{8}\Z")
#: What ends an id of castwork's own; foreign producers may leave out the last fourteen digits.
_ENDS = re.compile(r"-[0-9A-V]{15}[HNLD][0-9A-V]{2}(?:[0-9A-V]{14})?\Z")
_OWN = re.compile(r"(?![0-9]+-[0-9]+\Z)[A-Za-z0-9_.~-]{1,128}\Z")

_WORKER = re.compile(r"-[0-9]+-[0-9a-f]{8}(?:\.[0-9]+)?\Z")

#: Bytes drawn at a time: a system call per id would cost more than all the rest of making it.
_DRAWN = 4000

#: Each byte as a digit; as 32 divides 256, all digits are equally likely.
_AS_DIGITS = bytes(ord(DIGITS[byte & 31]) for byte in range(256))


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(DIGITS[number & 31])
        number >>= 5
    return "".join(reversed(digits))


class _Source:
    """Random digits, drawn from the system in advance."""

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0
        self.count = 0

    def digits8(self) -> str:
        """Eight random digits: 40 bits."""
        at = self._at
        if at >= len(self._digits):
            self._digits, at = os.urandom(_DRAWN).translate(_AS_DIGITS).decode(), 0
        self._at = at + 8
        return self._digits[at : at + 8]

    def reset(self) -> None:
        """Draw anew, as a forked child must: else it would repeat its parent's digits."""
        self._digits, self._at = "", 0


_source = _Source()
os.register_at_fork(after_in_child=_source.reset)

#: Returns eight random digits.
new_digits = _source.digits8


def new_id() -> str:
    """Return a unique id of 16 digits, which says nothing about time."""
    return new_digits() + new_digits()


def new_producer() -> str:
    """Return six digits for a producer: they name the Redis channel of its tasks' outcomes."""
    return new_digits()[:6]


def process_id(host: str) -> str:
    """Return a fresh id for this start of this process: never the same twice."""
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"


def is_worker_id(name: str) -> bool:
    """Whether a consumer's name is an id that `process_id` made, and so a castwork worker's.

    Behind a point it may have the worker's number, where a process has several workers.
    `store/lua/lib/is_worker.lua` says the same.
    """
    return _WORKER.search(name) is not None


class PlaceNames:
    """Names the places of entries in task ids.

    The name of the last millisecond is kept, as most entries that one read brings share theirs.
    """

    def __init__(self) -> None:
        self._ms = b""
        self._text = ""

    def name(self, entry_id: bytes) -> str:
        """The fifteen digits of an entry's id."""
        ms, _, count = entry_id.partition(b"-")
        if ms != self._ms:
            self._text = _base32(int(ms), 9)
            self._ms = ms
        number = int(count)
        if number < 1024:
            return f"{self._text}0000{_PAIRS[number]}"
        return self._text + _base32(number, 6)


#: What producer and random digits in entries are made of.
NONCE_DIGITS = DIGITS.encode()


def is_nonce(digits: bytes) -> bool:
    """Whether bytes are the producer's and the random digits of a made id."""
    return len(digits) == 14 and not digits.translate(None, NONCE_DIGITS)


def lane_suffix(priority: Priority, partition: int = 0) -> str:
    """The digits of an id that name the lane and the partition."""
    return _LETTERS[priority] + _PAIRS[partition]


def deferred_id(queue: str, nonce: str) -> str:
    """Return an id that does not name the task's place. Our clock is used for its order only."""
    _source.count = (_source.count + 1) & 0x3FFFFFFF
    return f"{queue}-{_base32(time.time_ns() // 1_000_000, 9)}{_base32(_source.count, 6)}D00{nonce}"


class MadeId(NamedTuple):
    """What a made task id says.

    Attributes:
        entry: id of the stream entry, None where only the server knows it.
        lane: the entry's lane.
        producer: the producer that is told the outcome.
        nonce: the producer's and the random digits, as the entry holds them.
    """

    entry: Position | None
    lane: Priority
    producer: str
    nonce: str


def parse_made_id(task_id: str) -> MadeId | None:
    """Read a made id; None for an id of the caller's own and for an adopted entry's id."""
    found = _MADE.search(task_id)
    if found is None:
        return None
    place, letter, partition, producer = found.groups()
    entry = None
    if letter != "D" and partition == "00":  # in another partition there is no such task
        entry = Position(int(place[:9], 32), int(place[9:], 32))
    return MadeId(entry, _LANES.get(letter, Priority.NORMAL), producer, task_id[-14:])


def producer_of(task_id: str) -> str:
    """The producer that is told a task's outcome; empty where the id names none."""
    return task_id[-14:-8] if _MADE.search(task_id) else ""


def prefix_of(task_id: str) -> str:
    """What stands before the task's own part of an id: a queue's `id_prefix`, empty for none.

    Each id has one such prefix: neither the caller's own text nor an entry's id has a colon or
    ends like a made id.
    """
    found = _ENDS.search(task_id)
    return task_id[: found.start()] if found else task_id.rpartition(":")[0]


def own_id(queue: str, text: str) -> str:
    """The task id for an id that the caller chose.

    Raises:
        DefinitionError: the text is not one to 128 of letters, digits and `-_.~`, or it looks
            like an id of castwork's own or of a stream's entry.
    """
    if not _OWN.match(text) or _ENDS.search(f"-{text}"):
        raise DefinitionError(
            f"not a task id: {text[:140]!r}: use 1 to 128 letters, digits and -_.~, and nothing"
            " that looks like an id of castwork's own (or 1-1, as entries of streams have)"
        )
    return f"{queue}:{text}"
