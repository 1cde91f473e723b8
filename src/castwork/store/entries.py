"""Entries: finds what a task was called with, wherever the task is."""

from __future__ import annotations

from typing import NamedTuple

from castwork.model.codec import decode_any, encode_value
from castwork.model.entry import Entry, has_nonce, parse_entry, plain_fields
from castwork.model.errors import UndecodableEntry
from castwork.model.ids import parse_made_id
from castwork.model.states import Priority
from castwork.store.adopted import Adopted
from castwork.store.letters import Letters
from castwork.store.place import QueuePlace


class _Found(NamedTuple):
    """An entry's fields, and the lane that it lies in, comes from or goes to."""

    fields: list[bytes]
    lane: Priority


class Entries:
    """Reads the entries of one queue's tasks: in a lane, parked, or in a dead letter."""

    def __init__(self, place: QueuePlace, letters: Letters) -> None:
        self._place = place
        self._letters = letters
        self._adopted = Adopted(place)

    async def arguments(self, task_id: str) -> bytes | None:
        """The arguments of a task that waits, runs or is dead, as JSON; None of any other.

        Raises:
            ConnectionFailed: no server in time.
            UndecodableEntry: the entry is no task.
        """
        found = await self._look(task_id)
        if found is None:
            return None
        fields = found.fields
        if b"call" in fields[::2] or b"task" in fields[::2]:
            return parse_entry(fields).args
        return encode_value(plain_fields(fields))

    async def find(self, task_id: str) -> tuple[Entry, Priority] | None:
        """A task of castwork's own that waits, runs or is dead, and its lane; None of any other.

        Raises as `arguments`.
        """
        found = await self._look(task_id)
        if found is None:
            return None
        entry = parse_entry(found.fields)
        own = entry.meta.lane if entry.meta is not None else None
        return entry, own or found.lane

    async def _look(self, task_id: str) -> _Found | None:
        found = await self._in_lane(task_id) or await self._parked(task_id)
        if found is None and (letter := await self._letters.find(task_id)) is not None:
            found = _Found(letter.fields, _priority(letter.lane))
        return found if found is not None and found.fields else None

    async def _in_lane(self, task_id: str) -> _Found | None:
        made = parse_made_id(task_id)
        if entry := self._adopted.entry_of(task_id):
            page = await self._place.call("XRANGE", self._place.keys.lanes[-1], entry, entry)
            found = _Found(page[0][1], Priority.NORMAL) if page else None
        elif made is not None and made.entry is not None:
            found = await self._entry(made.lane, str(made.entry))
            if found is not None and not has_nonce(found.fields, made.nonce):
                found = None
        else:
            found = None
        return found or await self._moved(task_id)

    async def _entry(self, lane: Priority, entry: str) -> _Found | None:
        page = await self._place.call("XRANGE", self._place.keys.own[lane], entry, entry)
        return _Found(page[0][1], lane) if page else None

    async def _moved(self, task_id: str) -> _Found | None:
        """The entry of a task whose id does not name it, as it waits or runs again."""
        moved = await self._place.call("HGET", self._place.keys.moved, task_id)
        if moved is None:
            return None
        name, _, entry = moved.decode().partition(":")
        return await self._entry(Priority(name), entry)

    async def _parked(self, task_id: str) -> _Found | None:
        raw = await self._place.call("HGET", self._place.keys.parked, task_id)
        if raw is None:
            return None
        try:
            parked = decode_any(raw.partition(b" ")[2])
            fields = [field.encode() for field in parked["fields"]]
            return _Found(fields, _priority(parked["lane"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UndecodableEntry(f"the parked task {task_id} does not decode") from error


def _priority(name: str) -> Priority:
    """The lane of a name; the normal one for that of an adopted stream."""
    return Priority(name) if name in list(Priority) else Priority.NORMAL
