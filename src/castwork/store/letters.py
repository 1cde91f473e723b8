"""Letters: the dead letters of a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from castwork.model.entry import Entry
from castwork.model.errors import UndecodableEntry
from castwork.model.ids import producer_of
from castwork.model.position import Position
from castwork.model.states import Priority
from castwork.store.letter import Letter, read_letter
from castwork.store.place import QueuePlace
from castwork.store.scripts import PURGE, REPLAY

#: Bytes that a page holds before it ends, and letters that the first look asks for: their size is
#: not known yet.
_PAGE_BYTES, _FIRST = 4_000_000, 8


class Letters:
    """The dead letters of one queue; they stay until replayed or purged, the newest `most` of them.

    Args:
        place: the queue.
        most: dead letters kept; `trim` purges the oldest beyond them.
    """

    def __init__(self, place: QueuePlace, most: int) -> None:
        self._place = place
        self._keys = place.keys
        self._most = most

    async def count(self) -> int:
        """How many dead letters there are."""
        return int(await self._place.call("XLEN", self._keys.dead))

    async def newest(self, limit: int, after: str = "") -> list[Letter]:
        """The newest dead letters, newest first.

        A page ends early once it holds some 4 MB. Large letters are read a few at a time, so that
        no reply holds up what else the connection carries.

        Args:
            limit: letters at most.
            after: the id of the letter that the page before ended with, empty to begin.

        Returns:
            A page; an empty one says that there are no more.
        """
        return await self._page("XREVRANGE", f"({after}" if after else "+", "-", limit)

    async def _page(self, command: str, start: str, end: str, limit: int) -> list[Letter]:
        """Letters in the order of a command, until there are `limit` or some 4 MB."""
        found: list[Letter] = []
        size, largest = 0, _PAGE_BYTES // _FIRST
        while len(found) < limit and size < _PAGE_BYTES:
            count = min(limit - len(found), max(1, (_PAGE_BYTES - size) // largest))
            page = await self._place.call(command, self._keys.dead, start, end, "COUNT", count)
            sizes = [sum(map(len, fields)) for _, fields in page]
            found += [read_letter(letter_id, fields) for letter_id, fields in page]
            if len(page) < count:
                break
            size, largest, start = size + sum(sizes), max(1, *sizes), f"({found[-1].id}"
        return found

    async def trim(self) -> list[str]:
        """Purge the oldest beyond those that are kept, 100 at most; return their tasks' ids."""
        excess = await self.count() - self._most
        if excess <= 0:
            return []
        letters = await self._page("XRANGE", "-", "+", min(excess, 100))
        await self.purge_all(letters)
        return [letter.task_id for letter in letters]

    async def find(self, name: str) -> Letter | None:
        """A dead letter, by its own id or its task's id; None if there is none."""
        letter = await self._get(name) if _is_position(name) else None
        if letter is None and (letter_id := await self._id_of(name)) is not None:
            letter = await self._get(letter_id)
        return letter

    async def _get(self, letter_id: str) -> Letter | None:
        page = await self._place.call("XRANGE", self._keys.dead, letter_id, letter_id)
        return read_letter(*page[0]) if page else None

    async def _id_of(self, task_id: str) -> str | None:
        raw = await self._place.call("HGET", self._keys.letters, task_id)
        return None if raw is None else raw.decode()

    async def replay(self, letter: Letter, entry: Entry, lane: Priority, record: bytes) -> bool:
        """Queue the task of a dead letter again; False if the letter is gone, and nothing waits.

        Args:
            letter: the dead letter.
            entry: the entry under which the task waits again.
            lane: the lane that the entry goes to.
            record: the task's record once it is queued, empty for none.
        """
        keys, task_id = self._keys, letter.task_id
        names = [keys.dead, keys.letters, keys.own[lane], keys.record(task_id), keys.moved]
        told = self._place.told(producer_of(task_id))
        args = [letter.id, task_id, lane.value, record, told, *entry.fields(), "at", entry.at]
        return bool(await self._place.run(REPLAY, names, args))

    async def purge(self, letter: Letter) -> bool:
        """Delete a dead letter, with its task's record, its output and what it saved.

        Returns:
            False if the letter was replayed meanwhile.
        """
        keys, task_id = self._keys, letter.task_id
        names = [keys.dead, keys.letters, keys.record(task_id), keys.output(task_id)]
        names.append(keys.saved(task_id))
        return bool(await self._place.run(PURGE, names, [letter.id, task_id]))

    async def purge_all(self, letters: Sequence[Letter]) -> int:
        """Delete dead letters together; return how many were not replayed meanwhile."""
        return sum(await asyncio.gather(*map(self.purge, letters)))


def _is_position(name: str) -> bool:
    """Whether a name is the id of a dead letter, and not of a task."""
    try:
        Position.parse(name)
    except UndecodableEntry:
        return False
    return True
