"""Entries: finds what a task was called with, wherever the task is."""

from __future__ import annotations

from castwork.model.codec import decode_any, encode_value
from castwork.model.entry import has_nonce, parse_entry, plain_fields
from castwork.model.errors import UndecodableEntry
from castwork.model.ids import parse_made_id
from castwork.model.states import Priority
from castwork.store.adopted import Adopted
from castwork.store.letters import Letters
from castwork.store.place import QueuePlace


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
        found = await self._in_lane(task_id) or await self._parked(task_id)
        if not found and (letter := await self._letters.find(task_id)) is not None:
            found = letter.fields
        if not found:
            return None
        if b"call" in found[::2] or b"task" in found[::2]:
            return parse_entry(found).args
        return encode_value(plain_fields(found))

    async def _in_lane(self, task_id: str) -> list[bytes]:
        keys, made = self._place.keys, parse_made_id(task_id)
        if entry := self._adopted.entry_of(task_id):
            lane = keys.lanes[-1]
        elif made is not None and made.entry is not None:
            lane, entry = keys.own[made.lane], str(made.entry)
        else:
            return await self._moved(task_id)
        page = await self._place.call("XRANGE", lane, entry, entry)
        fields: list[bytes] = page[0][1] if page else []
        if made is not None and made.entry is not None:
            return (
                fields if fields and has_nonce(fields, made.nonce) else await self._moved(task_id)
            )
        return fields or await self._moved(task_id)

    async def _moved(self, task_id: str) -> list[bytes]:
        """The entry of a task whose id does not name it, as it waits or runs again."""
        moved = await self._place.call("HGET", self._place.keys.moved, task_id)
        if moved is None:
            return []
        name, _, entry = moved.decode().partition(":")
        lane = self._place.keys.own[Priority(name)]
        page = await self._place.call("XRANGE", lane, entry, entry)
        return page[0][1] if page else []

    async def _parked(self, task_id: str) -> list[bytes]:
        raw = await self._place.call("HGET", self._place.keys.parked, task_id)
        if raw is None:
            return []
        try:
            fields = decode_any(raw.partition(b" ")[2])["fields"]
            return [field.encode() for field in fields]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UndecodableEntry(f"the parked task {task_id} does not decode") from error
