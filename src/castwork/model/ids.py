"""Unique, time-ordered ids."""

from __future__ import annotations

import os
import time

#: Crockford's base 32 (https://www.crockford.com/base32.html): no I, L, O or U.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))


class IdSource:
    """Makes ids of 26 characters in the shape of a ULID: 10 of time, 16 of uniqueness.

    The unique part is 60 random bits, drawn anew each millisecond, and a counter of 20 bits
    within it, so that ids of one process sort in the order in which they were made. The time
    comes from this machine's clock; nothing but the sort order depends on it.
    """

    def __init__(self) -> None:
        self._millisecond = -1
        self._prefix = ""
        self._count = 0

    def next(self) -> str:
        """Return a new id."""
        now = time.time_ns() // 1_000_000
        count = self._count
        if now > self._millisecond or count >= 0xFFFFF:
            self._millisecond = max(now, self._millisecond + (count >= 0xFFFFF))
            drawn = int.from_bytes(os.urandom(8))  # 12 digits take 60 of its bits
            self._prefix = _base32(self._millisecond, 10) + _base32(drawn, 12)
            count = 0
        self._count = count + 1
        return self._prefix + _PAIRS[count >> 10] + _PAIRS[count & 1023]

    def reset(self) -> None:
        """Start over, as a forked child must: it would repeat its parent's ids."""
        self._millisecond = -1
        self._count = 0


_source = IdSource()
os.register_at_fork(after_in_child=_source.reset)

#: Returns a new unique id of 26 characters.
new_id = _source.next


def new_task_id(queue: str) -> str:
    """Return the id of a new task: the queue's name, a dash, a unique part."""
    return f"{queue}-{new_id()}"


def queue_of(task_id: str) -> str:
    """Return the name of the queue in a task id, or an empty string if it names none."""
    return task_id.rpartition("-")[0]


def process_id(host: str) -> str:
    """Return a fresh id for this start of this process: never the same twice."""
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
