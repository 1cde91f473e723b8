"""Letters: the dead letters of a queue."""

from __future__ import annotations

from typing import Any, NamedTuple

from castwork.model.codec import decode_any, encode
from castwork.model.entry import Entry
from castwork.model.ids import producer_of
from castwork.model.states import Priority
from castwork.store.place import QueuePlace
from castwork.store.scripts import PURGE, REPLAY

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


class Letters:
    """The dead letters of one queue; they stay until replayed or purged."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._keys = place.keys

    async def count(self) -> int:
        """How many dead letters there are."""
        return int(await self._place.call("XLEN", self._keys.dead))

    async def newest(self, limit: int) -> list[Letter]:
        """The newest dead letters, newest first."""
        page = await self._place.call("XREVRANGE", self._keys.dead, "+", "-", "COUNT", limit)
        return [_parse(letter_id, fields) for letter_id, fields in page]

    async def find(self, name: str) -> Letter | None:
        """A dead letter, by its own id or its task's id; None if there is none."""
        is_letter_id = name.replace("-", "", 1).isdigit()
        letter_id = name if is_letter_id else await self._id_of(name)
        if letter_id is None:
            return None
        page = await self._place.call("XRANGE", self._keys.dead, letter_id, letter_id)
        return _parse(*page[0]) if page else None

    async def _id_of(self, task_id: str) -> str | None:
        raw = await self._place.call("HGET", self._keys.letters, task_id)
        return None if raw is None else raw.decode()

    async def replay(self, letter: Letter, entry: Entry, lane: Priority, record: bytes) -> bool:
        """Queue the task of a dead letter again; False if the letter is gone.

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
        """Delete a dead letter, with its task's record and output.

        Returns:
            False if the letter was replayed meanwhile.
        """
        keys, task_id = self._keys, letter.task_id
        names = [keys.dead, keys.letters, keys.record(task_id), keys.output(task_id)]
        return bool(await self._place.run(PURGE, names, [letter.id, task_id]))


def _parse(letter_id: bytes, flat: list[bytes]) -> Letter:
    named = dict(zip(flat[::2], flat[1::2], strict=True))
    fields: list[bytes] = []
    for name, value in named.items():
        if name.startswith(_PREFIX):
            fields += (name[len(_PREFIX) :], value)
    return Letter(
        letter_id.decode(),
        named[b"id"].decode(),
        named.get(b"task", b"").decode(),
        int(named[b"attempts"]),
        named[b"lane"].decode(),
        decode_any(named[b"errors"]),
        fields,
    )
