"""Outcomes: stores what becomes of tasks that a worker holds; many that end go in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from castwork.model.delivery import Delivery
from castwork.model.entry import Entry
from castwork.model.states import Priority
from castwork.store.letter import Letter
from castwork.store.parked import parked_task
from castwork.store.place import QueuePlace
from castwork.store.scripts import ANNOUNCE, BURY, END, FINISH, PARK, RELEASE, Script


class EndedTasks(msgspec.Struct):
    """Tasks that end together, in the order in which they are stored.

    Attributes:
        deliveries: the attempts that ended them.
        records: their final records, one line each; empty where none are kept.
        ttls_ms: how long each record is kept.
        outputs: positions of the tasks that may have chunks, which are kept as long as the record.
        saved: positions of the tasks that may have a checkpoint, which goes.
    """

    deliveries: Sequence[Delivery]
    records: Sequence[bytes]
    ttls_ms: Sequence[int]
    outputs: Sequence[int]
    saved: Sequence[int] = ()


#: Milliseconds that the record of a task is kept which runs from an adopted stream: its end may be
#: another program's, which writes no record. Without a record the pending entry tells that it runs.
_ABROAD_TTL_MS = 86_400_000


class Outcomes:
    """Stores what becomes of the tasks of one queue that one worker holds.

    Every method is fenced: a task whose lease has passed to another worker is left alone, and the
    lost lease is reported. A call that is sent again does nothing twice, but it may report a lost
    lease for what the first call did: `release` always does, `park` and `bury` once the task has
    been queued again, `finish` where no records are kept.
    """

    def __init__(self, place: QueuePlace, worker_id: str) -> None:
        self._place = place
        self._worker_id = worker_id
        self._queue = place.queue
        self._lanes = place.keys.lanes
        lanes, owned = place.queue.lanes, place.queue.owned
        # Per lane 1 where `robbed` notes each worker that entries were taken from: only castwork's
        # workers read it. The script then need not look at each entry.
        self._by_note = [int(lane.name != "stream") for lane in lanes]
        # Per lane 1 where an entry is deleted when its task leaves.
        self._deletes = [int(lane.name != "stream" or owned) for lane in lanes]

    async def finish(self, ended: EndedTasks) -> list[bool] | None:
        """Store outcomes and take their tasks off the queue.

        Returns:
            None when all outcomes are stored; else per task whether its outcome is stored. Where
            it is not, the lease was lost.

        Raises:
            ConnectionFailed, ServerRefused: as `Link.call`; OutOfMemory among them.
        """
        keys, deliveries = self._place.keys, ended.deliveries
        records: list[str] = []
        if self._queue.keeps_records:
            prefix = keys.record_prefix
            records = [prefix + delivery.task_id for delivery in deliveries]
        outputs = [keys.output(deliveries[number].task_id) for number in ended.outputs]
        outputs += [keys.saved(deliveries[number].task_id) for number in ended.saved]
        used = _lanes_of(deliveries)
        lanes = [self._lanes[lane] for lane in used]
        names = [keys.robbed, keys.moved, *lanes, *records, *outputs]
        reply = await self._place.run(FINISH, names, self._finish_args(ended, used, records))
        return None if reply == b"all" else [stored == 1 for stored in reply]

    def _finish_args(
        self, ended: EndedTasks, used: Sequence[int], names: Sequence[str]
    ) -> list[Any]:
        deliveries = ended.deliveries
        rows = self._rows(ended, used, names)
        moved: list[Any] = []
        for number, delivery in enumerate(deliveries, 1):
            if delivery.moved:
                moved += (number, delivery.task_id)
        kept = self._queue.keeps_records
        args: list[Any] = [len(used), self._worker_id, self._queue.group]
        args += (len(deliveries), len(rows) // 6, int(kept), int(self._has_msetex))
        args.append(len(moved) // 2)
        args += [self._by_note[lane] for lane in used]
        args += [self._deletes[lane] for lane in used]
        args += rows
        args += [delivery.entry_id for delivery in deliveries]
        args += ended.records
        args += moved
        for number in ended.outputs:
            args += (number + 1, ended.ttls_ms[number])
        for number in ended.saved:
            args += (number + 1, 0)
        return args

    def _rows(self, ended: EndedTasks, used: Sequence[int], names: Sequence[str]) -> list[Any]:
        """The arguments that tasks in a row have in common, once per row.

        Most groups are one row. The last argument is the message that tells the row's outcomes:
        the server would take longer to join it.
        """
        deliveries, ttls_ms, first = ended.deliveries, ended.ttls_ms, 0
        rows: list[Any] = []
        while first < len(deliveries):
            lead, ttl_ms = deliveries[first], ttls_ms[first]
            lane, times, producer = lead.lane, lead.deliveries, lead.producer
            end = first
            for end in range(first + 1, len(deliveries) + 1):
                if end == len(deliveries) or ttls_ms[end] != ttl_ms:
                    break
                other = deliveries[end]
                if other.lane != lane or other.deliveries != times or other.producer != producer:
                    break
            message = _message(names[first:end], ended.records[first:end])
            rows += (
                used.index(lane) + 1,
                times,
                end - first,
                ttl_ms,
                self._place.told(producer),
                message,
            )
            first = end
        return rows

    @property
    def _has_msetex(self) -> bool:
        server = self._place.connections.server
        return server is not None and server.has_msetex

    async def announce(self, group: Sequence[tuple[Delivery, bytes]]) -> int:
        """Announce attempts as running, and renew their leases on the way.

        Args:
            group: per attempt its delivery and its record.

        Returns:
            How many attempts were announced; the leases of the others were lost.
        """
        keys = self._place.keys
        deliveries = [delivery for delivery, _ in group]
        records = [record for _, record in group]
        names = [keys.record(delivery.task_id) for delivery in deliveries]
        used = _lanes_of(deliveries)
        ttls_ms = [0 if self._by_note[d.lane] else _ABROAD_TTL_MS for d in deliveries]
        rows = self._rows(EndedTasks(deliveries, records, ttls_ms, ()), used, names)
        args: list[Any] = [len(used), self._worker_id, self._queue.group, len(group)]
        args += [self._by_note[lane] for lane in used]
        args += rows
        args += [delivery.entry_id for delivery in deliveries]
        args += records
        lanes = [self._lanes[lane] for lane in used]
        return int(await self._place.run(ANNOUNCE, [keys.robbed, *lanes, *names], args))

    async def park(
        self, delivery: Delivery, entry: Entry, delay_ms: int, parked: bytes, queued: bytes
    ) -> bool:
        """Park a task until a time; False if the lease was lost.

        Args:
            delivery: the task's present delivery.
            entry: the entry under which the task waits again.
            delay_ms: milliseconds until the task is due.
            parked: the task's record while it is parked, empty for none.
            queued: the task's record once it is queued again, empty for none.
        """
        keys = self._place.keys
        names = [self._lanes[delivery.lane], keys.record(delivery.task_id)]
        names += [keys.parked, keys.moved, keys.due]
        lane = self._own_lane(delivery, entry)
        waiting = b"%d %b" % (entry.at, parked_task(entry, lane, queued))
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, waiting, parked, told, delay_ms]
        return await self._stored(PARK, names, args)

    async def bury(self, delivery: Delivery, record: bytes, letter: Letter) -> bool:
        """Make a task a dead letter; False if the lease was lost.

        Args:
            delivery: the task's present delivery.
            record: the task's final record, empty for none.
            letter: what is kept of the task; the server makes the letter's id.
        """
        keys = self._place.keys
        names = [self._lanes[delivery.lane], keys.record(delivery.task_id)]
        names += [keys.dead, keys.letters, keys.moved]
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, record, told, *letter.as_fields()]
        return await self._stored(BURY, names, args)

    async def end(
        self,
        delivery: Delivery,
        record: bytes,
        ttl_ms: int | None,
        following: bytes,
        letter: Letter | None,
    ) -> bool:
        """End a task, and queue the one that its end calls for; False if the lease was lost.

        Args:
            delivery: the task's present delivery.
            record: the task's final record.
            ttl_ms: how long the record and the output are kept; None for good.
            following: the field `call` of the task that follows.
            letter: the dead letter that the task becomes; None for none.
        """
        keys = self._place.keys
        names = [self._lanes[delivery.lane], keys.record(delivery.task_id)]
        names += [keys.output(delivery.task_id), keys.moved, keys.dead, keys.letters]
        names += [keys.own[Priority.NORMAL], keys.saved(delivery.task_id)]
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, record, ttl_ms or "", told, following]
        return await self._stored(END, names, [*args, *(letter.as_fields() if letter else ())])

    async def release(self, delivery: Delivery, entry: Entry, record: bytes) -> bool:
        """Hand a task back to its queue at once; False if the lease was lost.

        Args:
            delivery: the task's present delivery.
            entry: the entry under which the task waits again.
            record: the task's record once it is queued again, empty for none.
        """
        keys = self._place.keys
        priority = self._own_lane(delivery, entry)
        names = [self._lanes[delivery.lane], keys.own[priority]]
        names += [keys.record(delivery.task_id), keys.moved]
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, priority.value, record, told]
        return await self._stored(RELEASE, names, [*args, *entry.fields(), "at", entry.at])

    def _own_lane(self, delivery: Delivery, entry: Entry) -> Priority:
        """The lane that a task goes back to."""
        if entry.meta is not None and entry.meta.lane is not None:
            return entry.meta.lane
        return self._queue.lanes[delivery.lane].priority

    def _fence(self, delivery: Delivery) -> list[Any]:
        return [
            self._queue.group,
            self._worker_id,
            delivery.entry_id,
            delivery.deliveries,
            self._deletes[delivery.lane],
        ]

    async def _stored(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> bool:
        return bool(await self._place.run(script, keys, args))


def _lanes_of(deliveries: Sequence[Delivery]) -> list[int]:
    """The lanes that a group needs: mostly one. Each more costs the server as much as a task."""
    return sorted({delivery.lane for delivery in deliveries})


def _message(names: Sequence[str], records: Sequence[bytes]) -> bytes:
    """The message that tells outcomes: the records' keys, then the records, a line each."""
    if not names:
        return b""
    return "\n".join(names).encode() + b"\n" + b"\n".join(records)
