"""Records: reads what is known of a task, and asks for its cancellation."""

from __future__ import annotations

import asyncio

from castwork.model.entry import has_nonce, parse_entry, with_meta
from castwork.model.errors import UndecodableEntry
from castwork.model.ids import MadeId, parse_made_id, producer_of
from castwork.model.record import Record, cancelled_error, decode_record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.store.adopted import Adopted
from castwork.store.place import QueuePlace
from castwork.store.scripts import CANCEL, FORGET

#: Stands between an id and the reason for its cancel on the control channel.
CANCEL_WORD = "cancel"

#: Milliseconds that a cancelled task's record is kept.
_CANCELLED_TTL_MS = 3_600_000


class Records:
    """Looks at tasks of one queue by their ids."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._adopted = Adopted(place)

    async def final(self, task_id: str) -> Record | None:
        """The record of a task that has ended; None while it has not, or without a record."""
        raw = await self._place.call("GET", self._place.keys.record(task_id))
        if raw is None:
            return None
        record = decode_record(raw)
        return record if record.status.is_final else None

    async def read(self, task_id: str) -> Record | None:
        """The record of a task; made of the task's entry while Redis has none, None without a task.

        The entry is looked for before the record: the step that removes an entry also writes the
        task's record, so that a look in this order cannot miss both. Of an adopted stream's entry
        the server tells all at once.

        Raises:
            ConnectionFailed: no server in time.
            UndecodableEntry: the key holds something else.
        """
        made = parse_made_id(task_id)
        if entry := self._adopted.entry_of(task_id):
            found = await self._adopted.read(task_id, entry)
            return await self._read_moved(found, task_id) if isinstance(found, bytes) else found
        if made is not None and made.entry is not None:
            page, raw = await self._look(made, task_id)
            if raw is None and page and has_nonce(page[0][1], made.nonce):
                return _waiting(page[0][1])
        else:
            link, keys = await self._place.link(), self._place.keys
            place, raw = await asyncio.gather(
                link.call("HGET", keys.moved, task_id), link.call("GET", keys.record(task_id))
            )
            if raw is None and place is not None:
                return await self._read_moved(place, task_id)
        return None if raw is None else decode_record(raw)

    async def _look(self, made: MadeId, task_id: str) -> tuple[list[list[list[bytes]]], bytes]:
        """The entry that the task's id names, and the task's record, in one round trip."""
        link, keys = await self._place.link(), self._place.keys
        entry = str(made.entry)
        page, raw = await asyncio.gather(
            link.call("XRANGE", keys.own[made.lane], entry, entry),
            link.call("GET", keys.record(task_id)),
        )
        return page, raw

    async def _read_moved(self, place: bytes, task_id: str) -> Record:
        lane, _, entry = place.decode().partition(":")
        keys = self._place.keys
        page = await self._place.call("XRANGE", keys.own[Priority(lane)], entry, entry)
        if page:
            return _waiting(page[0][1])
        raw = await self._place.call("GET", keys.record(task_id))  # the task has ended meanwhile
        return Record(TaskState.QUEUED) if raw is None else decode_record(raw)

    async def forget(self, task_id: str) -> bool:
        """Delete the record, the output and what was saved of a task that has ended.

        Returns:
            Whether they are gone; False for a task that has not ended.

        Raises:
            ConnectionFailed: no server in time.
        """
        keys = self._place.keys
        names = [keys.record(task_id), keys.output(task_id), keys.saved(task_id)]
        return bool(await self._place.run(FORGET, names, []))

    async def cancel(
        self, task_id: str, known: Record, following: bytes = b"", *, reason: str = ""
    ) -> TaskState | None:
        """Cancel a task at once while it waits; else tell its worker to cancel it.

        Args:
            task_id: the task.
            known: what is known of the task, for its final record.
            following: the field `call` of the task that follows this end; empty for none.
            reason: why, for the task and for who waits for it.

        Returns:
            The task's status: `cancelled`, another final status, or `running` when its worker was
            told. None if the server knows no such task; then every worker was told.
        """
        cancelled = Record(
            TaskState.CANCELLED,
            known.task,
            known.attempts,
            error=cancelled_error(reason),
            owner=known.owner,
            tenant=known.tenant,
            labels=known.labels,
            parent=known.parent,
            step=known.step,
            failures=known.failures,
        )
        return await self.end(task_id, cancelled, following, reason=reason)

    async def end(
        self, task_id: str, ended: Record, following: bytes = b"", *, reason: str = ""
    ) -> TaskState | None:
        """End a task at once while it waits, with a record of its end; else as `cancel`.

        Args:
            task_id: the task.
            ended: the record that it gets if it waits; that of a step that another one waits for is
                kept until that one has ended.
            following, reason: as of `cancel`.
        """
        keys, made = self._place.keys, parse_made_id(task_id)
        names = [keys.record(task_id), keys.due, keys.parked, keys.moved]
        names += [keys.own[priority] for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW)]
        names += [keys.output(task_id), keys.saved(task_id), keys.held, keys.waiters]
        names += [keys.turns, keys.lines, keys.waking]
        if self._place.queue.stream is not None:
            names += [keys.lanes[-1], keys.unwanted]
        place = nonce = ""
        if entry := self._adopted.entry_of(task_id):
            place = f"stream:{entry}"
        elif made is not None and made.entry is not None:
            place, nonce = f"{made.lane.value}:{made.entry}", made.nonce
        reply = await self._place.run(
            CANCEL,
            names,
            [
                task_id,
                place,
                nonce,
                encode_record(ended),
                "" if ended.step is not None and ended.step.next else _CANCELLED_TTL_MS,
                self._place.channel(keys.control),
                self._place.queue.group,
                self._place.told(producer_of(task_id)),
                int(self._place.queue.owned),
                following,
                f"{task_id}\n{CANCEL_WORD}\n{reason}" if reason else task_id,
            ],
        )
        return None if reply == b"unknown" else TaskState(reply.decode())


def _waiting(fields: list[bytes]) -> Record:
    """The record that a task has before its first attempt."""
    try:
        entry = parse_entry(fields)
        return with_meta(Record(TaskState.QUEUED, entry.name), entry.meta)
    except UndecodableEntry:
        return Record(TaskState.QUEUED)  # a worker will say what is wrong with it
