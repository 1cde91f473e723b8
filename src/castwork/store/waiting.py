"""Waiting: which tasks of a queue no worker has taken yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from castwork.model.entry import find_id
from castwork.model.errors import ServerRefused
from castwork.model.ids import PlaceNames, lane_suffix
from castwork.model.queue import Lane
from castwork.store.place import QueuePlace

#: Tasks that are read at once.
_PAGE = 500


#: What the call of a task that tells the end of another one has behind its function's name.
_TELLS_AN_END = b":on_end "


class Waiting:
    """Lists the tasks of one queue that wait in its lanes, and those that are parked.

    Tasks that tell the ends of others are left out: they are no work of their own.
    """

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._names = PlaceNames()

    async def ids(self) -> AsyncIterator[list[str]]:
        """The ids, page by page: the lanes in their order, then what is parked.

        A task that moves meanwhile may come twice, or not at all.

        Raises:
            ConnectionFailed: no server in time.
        """
        for lane, stream in zip(self._place.queue.lanes, self._place.keys.lanes, strict=True):
            after = await self._delivered(stream)
            while True:
                page = await self._place.call("XRANGE", stream, f"({after}", "+", "COUNT", _PAGE)
                if not page:
                    break
                yield [
                    self._id(lane, entry, fields or [])
                    for entry, fields in page
                    if not any(map(_tells_an_end, fields or []))
                ]
                after = page[-1][0].decode()
        cursor: Any = b"0"
        while True:
            cursor, found = await self._place.call(
                "HSCAN", self._place.keys.parked, cursor, "COUNT", _PAGE
            )
            if found:
                yield [
                    name.decode(errors="replace")
                    for name, parked in zip(found[::2], found[1::2], strict=True)
                    if _TELLS_AN_END not in parked
                ]
            if cursor == b"0":
                return

    async def _delivered(self, stream: str) -> str:
        """The last entry that the group was given."""
        try:
            groups = await self._place.call("XINFO", "GROUPS", stream)
        except ServerRefused:  # there is no such stream
            return "0-0"
        own = self._place.queue.group.encode()
        given = (group[b"last-delivered-id"] for group in groups if group[b"name"] == own)
        last: bytes = next(given, b"0-0")
        return last.decode()

    def _id(self, lane: Lane, entry: bytes, fields: list[bytes]) -> str:
        prefix = self._place.queue.id_prefix
        if lane.name == "stream":
            return f"{prefix}:{entry.decode()}"
        named, nonce = find_id(fields)
        suffix = lane_suffix(lane.priority)
        return named or f"{prefix}-{self._names.name(entry)}{suffix}{nonce}"


def _tells_an_end(field: bytes) -> bool:
    return _TELLS_AN_END in field.partition(b"{")[0]
