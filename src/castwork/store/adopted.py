"""Adopted: what is known of an adopted stream's entries, which others write and others read too."""

from __future__ import annotations

import re
import time
from typing import Any

from castwork.model.ids import producer_of
from castwork.model.record import ErrorInfo, Record, decode_record, encode_record
from castwork.model.states import TaskState
from castwork.store.place import QueuePlace
from castwork.store.scripts import TRACE

_ENTRY = re.compile(r"[0-9]{1,20}-[0-9]{1,20}\Z")

#: Milliseconds that the record of a task is kept whose entry another program acknowledged.
_GONE_TTL_MS = 3_600_000


#: States of entries that wait and have no record.
_WAITING = {b"waiting": TaskState.QUEUED, b"cancelled": TaskState.CANCELLED}


class Adopted:
    """Looks at the entries of one queue's adopted stream; of no use to other queues."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._before = f"{place.queue.id_prefix}:" if place.queue.stream is not None else None

    def entry_of(self, task_id: str) -> str:
        """The entry that a task id names, empty for ids of other kinds."""
        if self._before is None or not task_id.startswith(self._before):
            return ""
        entry = task_id[len(self._before) :]
        return entry if _ENTRY.match(entry) else ""

    async def read(self, task_id: str, entry: str) -> Record | bytes | None:
        """The record of an entry's task; made of where the entry is while Redis has none.

        A task that ran here ends as `failed` when another program has acknowledged its entry.

        Returns:
            The record; the task's place on a lane of castwork's own, where it waits or runs again;
            None if the entry is not there, or the group has done with it and its record expired.

        Raises:
            ConnectionFailed: no server in time.
            UndecodableEntry: the record's key holds something else.
        """
        ending: list[Any] = []
        while True:
            kind, *facts = await self._trace(task_id, entry, ending)
            if kind == b"gone":
                ending = self._ending(task_id, facts[0])
            elif kind == b"record":
                return decode_record(facts[0])
            elif kind == b"moved":
                place: bytes = facts[0]
                return place
            elif kind == b"held":
                holder = facts[0].decode(errors="replace")
                return Record(TaskState.RUNNING, attempts=facts[1], worker=holder)
            else:
                return None if kind == b"unknown" else Record(_WAITING[kind])

    async def _trace(self, task_id: str, entry: str, ending: list[Any]) -> list[Any]:
        keys = self._place.keys
        names = [keys.lanes[-1], keys.record(task_id), keys.moved]
        names += [keys.output(task_id), keys.unwanted]
        reply: list[Any] = await self._place.run(
            TRACE, names, [self._place.queue.group, entry, task_id, *ending]
        )
        return reply

    def _ending(self, task_id: str, raw: bytes) -> list[Any]:
        """What ends the task of an entry that another program acknowledged."""
        record = decode_record(raw)
        record.status = TaskState.FAILED
        record.finished_at = time.time()
        record.error = ErrorInfo(
            "AcknowledgedElsewhere",
            "another program acknowledged or deleted the entry while its task ran: the result is"
            " not known",
            attempt=record.attempts,
            worker=record.worker,
        )
        channel = self._place.told(producer_of(task_id))
        return [raw, encode_record(record), _GONE_TTL_MS, channel]
