"""Passing a child's output on, line by line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Bytes after which a line without an end is passed on unfinished.
_LONGEST = 65_536


async def relay_lines(
    reader: asyncio.StreamReader, name: str, say: Callable[[str, str], None]
) -> None:
    """Say each line of a child's output under its name, until the output ends."""
    rest = b""
    while data := await reader.read(_LONGEST):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            say(name, _text(line))
        if len(rest) > _LONGEST:
            say(name, _text(rest))
            rest = b""
    if rest:
        say(name, _text(rest))


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")
