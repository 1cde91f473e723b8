"""Parked: tasks that wait for a time before they wait for a worker."""

from __future__ import annotations

import logging
from typing import Any

from castwork.model.codec import encode
from castwork.model.dice import dice
from castwork.model.entry import Entry
from castwork.model.ids import producer_of
from castwork.model.states import Priority
from castwork.store.place import QueuePlace
from castwork.store.scripts import DUE, UNPARK

logger = logging.getLogger(__name__)


def parked_task(entry: Entry, lane: Priority, queued: bytes) -> bytes:
    """A parked task as JSON; in Redis the time of its first enqueue stands before it.

    The arguments stay text, so that Lua, which decodes the rest, cannot change them.

    Args:
        entry: the entry that is added to the lane when the time has come.
        lane: the lane that the entry goes to.
        queued: the record that the task gets then, empty for none.
    """
    fields = [f if isinstance(f, str) else f.decode() for f in entry.fields()]
    return encode({"v": 1, "lane": lane.value, "fields": fields, "record": queued.decode()})


class Parked:
    """Parked tasks of one queue."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place

    async def due(self, limit: int) -> tuple[list[str], float | None]:
        """Which tasks are due, by the server's clock; of very many, some of the earliest.

        Args:
            limit: ids at most.

        Returns:
            Their ids, and the seconds until the next one is due; None if there is none.
        """
        next_ms, *ids = await self._place.run(
            DUE, [self._place.keys.due], [limit, dice.randrange(1000)]
        )
        return [_as_text(raw) for raw in ids], next_ms / 1000 if next_ms >= 0 else None

    async def unpark(self, ids: list[str]) -> int:
        """Queue tasks that are due, each once even if other workers do the same.

        Returns:
            How many tasks this call queued.
        """
        keys = self._place.keys
        names = [keys.due, keys.parked, keys.moved]
        names += [keys.own[priority] for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW)]
        args: list[Any] = []
        for task_id in ids:
            names.append(keys.record(task_id.encode("utf-8", "replace").decode()))
            args += (_as_bytes(task_id), self._place.told(producer_of(task_id)))
        queued, *malformed = await self._place.run(UNPARK, names, args)
        if malformed:
            logger.error(
                "queue %s: parked tasks that do not decode stay in %s: %r",
                self._place.queue.name,
                keys.parked,
                malformed,
            )
        return int(queued)


def _as_text(raw: bytes) -> str:
    """An id as text; bytes that are not UTF-8 survive the way there and back."""
    return raw.decode("utf-8", "surrogateescape")


def _as_bytes(task_id: str) -> bytes:
    return task_id.encode("utf-8", "surrogateescape")
