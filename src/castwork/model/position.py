"""Position: the ids of Redis streams, as values that can be compared."""

from __future__ import annotations

from typing import NamedTuple

from castwork.model.errors import UndecodableEntry

#: Characters of the longest position, and what its numbers stay below: they have 64 bits.
_LENGTH, _END = 41, 2**64


class Position(NamedTuple):
    """A place in a stream: of an entry, of an event in a history, of a chunk in an output.

    Redis orders stream ids by both numbers (https://redis.io/docs/latest/develop/data-types/streams/).
    In queues and histories the numbers are milliseconds of the server's clock and a count within
    one millisecond, in outputs the attempt and the number of the chunk.

    Attributes:
        major: the number before the dash.
        minor: the number behind it.
    """

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """Read `major-minor`.

        Raises:
            UndecodableEntry: the text is something else.
        """
        name = text if isinstance(text, str) else text.decode("ascii", "replace")
        major, dash, minor = name.partition("-")
        # Few digits first: `int` takes long for many, and raises beyond 4,300 of them.
        if dash and len(name) <= _LENGTH and name.isascii() and major.isdigit() and minor.isdigit():
            position = cls(int(major), int(minor))
            if max(position) < _END:
                return position
        raise UndecodableEntry(f"not a position: {name[:50]!r}; it looks like 1764000000000-0")

    @classmethod
    def parse_or_start(cls, text: str | None) -> Position:
        """Read the position that a reader gives: None, empty and `0` are the beginning.

        Raises:
            UndecodableEntry: the text is something else.
        """
        return START if text in (None, "", "0") else cls.parse(text)

    def __str__(self) -> str:
        return f"{self.major}-{self.minor}"


#: Before everything.
START = Position(0, 0)
