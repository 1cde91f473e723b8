"""Outcomes: what becomes of tasks that a worker holds. Many that end together go in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from castwork.model.delivery import Delivery
from castwork.model.entry import Entry
from castwork.model.queue import Lane
from castwork.store.letters import Letter
from castwork.store.parked import parked_task
from castwork.store.place import QueuePlace
from castwork.store.scripts import ANNOUNCE, BURY, FINISH, PARK, RELEASE, Script


class EndedTasks(msgspec.Struct):
    """Tasks that end together, in the order in which they are stored.

    Attributes:
        deliveries: the attempts that ended them.
        records: their final records, one line each; empty where none are kept.
        ttls_ms: how long each record is kept.
        outputs: which of them may have chunks, which are kept as long.
    """

    deliveries: Sequence[Delivery]
    records: Sequence[bytes]
    ttls_ms: Sequence[int]
    outputs: Sequence[int]


class Outcomes:
    """Stores what becomes of the tasks of one queue that one worker holds.

    Every method is fenced and idempotent: a task whose lease has passed to another worker is left
    alone and reported, and a call that is sent again answers as the first one did.
    """

    def __init__(self, place: QueuePlace, worker_id: str) -> None:
        self._place = place
        self._worker_id = worker_id
        self._queue = place.queue
        self._lanes = place.keys.lanes
        # Whether only castwork's workers read a lane, and whether its entries are deleted.
        self._care = [_care_of(place, lane) for lane in place.queue.lanes]
        self._deletes = [int(care != "") for care in self._care]

    async def finish(self, ended: EndedTasks) -> list[bool] | None:
        """Store outcomes and take their tasks off the queue.

        Returns:
            None when all are stored; else per task whether its outcome is: False, the lease was
            lost.

        Raises:
            ConnectionFailed, ServerRefused: as `Link.call`; OutOfMemory among them.
        """
        keys, deliveries = self._place.keys, ended.deliveries
        records: list[str] = []
        if self._queue.keeps_records:
            prefix = keys.record_prefix
            records = [prefix + delivery.task_id for delivery in deliveries]
        outputs = [keys.output(deliveries[number].task_id) for number in ended.outputs]
        names = [keys.robbed, keys.moved, *self._lanes, *records, *outputs]
        reply = await self._place.run(FINISH, names, self._finish_args(ended, records))
        return None if reply == b"all" else [stored == 1 for stored in reply]

    def _finish_args(self, ended: EndedTasks, names: Sequence[str]) -> list[Any]:
        deliveries = ended.deliveries
        runs = self._runs(ended, names)
        moved: list[Any] = []
        for number, delivery in enumerate(deliveries, 1):
            if delivery.moved:
                moved += (number, delivery.task_id)
        kept = self._queue.keeps_records
        args: list[Any] = [len(self._lanes), self._worker_id, self._queue.group]
        args += (len(deliveries), len(runs) // 6, int(kept), int(self._has_msetex))
        args.append(len(moved) // 2)
        args += self._care
        args += runs
        args += [delivery.entry_id for delivery in deliveries]
        args += ended.records
        args += moved
        for number in ended.outputs:
            args += (number + 1, ended.ttls_ms[number])
        return args

    def _runs(self, ended: EndedTasks, names: Sequence[str]) -> list[Any]:
        """What tasks in a row have in common, said once: most groups are one run of tasks alike.

        With each run goes the message that tells of it, which the server would take longer to join.
        """
        deliveries, ttls_ms, first = ended.deliveries, ended.ttls_ms, 0
        runs: list[Any] = []
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
            runs += (lane + 1, times, end - first, ttl_ms, self._place.told(producer), message)
            first = end
        return runs

    @property
    def _has_msetex(self) -> bool:
        server = self._place.connections.server
        return server is not None and server.has_msetex

    async def announce(self, group: Sequence[tuple[Delivery, bytes]]) -> int:
        """Announce attempts as running, and renew their leases on the way.

        Args:
            group: per attempt its delivery and its record.

        Returns:
            How many were announced; the others' leases were lost.
        """
        keys = self._place.keys
        deliveries = [delivery for delivery, _ in group]
        records = [record for _, record in group]
        names = [keys.record(delivery.task_id) for delivery in deliveries]
        runs = self._runs(EndedTasks(deliveries, records, [0] * len(group), ()), names)
        args: list[Any] = [len(self._lanes), self._worker_id, self._queue.group, len(group)]
        args += [int(care == "1") for care in self._care]
        args += runs
        args += [delivery.entry_id for delivery in deliveries]
        args += records
        return int(await self._place.run(ANNOUNCE, [keys.robbed, *self._lanes, *names], args))

    async def park(
        self, delivery: Delivery, entry: Entry, delay_ms: int, parked: bytes, queued: bytes
    ) -> bool:
        """Park a task until a time; False if the lease was lost.

        Args:
            entry: the entry under which it waits again.
            delay_ms: milliseconds until it is due.
            parked: its record while it is parked, empty for none.
            queued: its record once it is queued again, empty for none.
        """
        keys = self._place.keys
        names = [self._lanes[delivery.lane], keys.record(delivery.task_id)]
        names += [keys.parked, keys.moved, keys.due]
        lane = self._queue.lanes[delivery.lane].priority
        row = b"%d %b" % (entry.at, parked_task(entry, lane, queued))
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, row, parked, told, delay_ms]
        return await self._stored(PARK, names, args)

    async def bury(self, delivery: Delivery, record: bytes, letter: Letter) -> bool:
        """Make a task a dead letter; False if the lease was lost.

        Args:
            record: its final record.
            letter: what is kept of it; the server makes its id.
        """
        keys = self._place.keys
        names = [self._lanes[delivery.lane], keys.record(delivery.task_id)]
        names += [keys.dead, keys.letters, keys.moved]
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, record, told, *letter.as_fields()]
        return await self._stored(BURY, names, args)

    async def release(self, delivery: Delivery, entry: Entry, record: bytes) -> bool:
        """Hand a task back to its queue at once; False if the lease was lost.

        Args:
            entry: the entry under which it waits again.
            record: its record then, empty for none.
        """
        keys = self._place.keys
        priority = self._queue.lanes[delivery.lane].priority
        names = [self._lanes[delivery.lane], keys.own[priority]]
        names += [keys.record(delivery.task_id), keys.moved]
        told = self._place.told(delivery.producer)
        args = [*self._fence(delivery), delivery.task_id, priority.value, record, told]
        return await self._stored(RELEASE, names, [*args, *entry.fields(), "at", entry.at])

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


def _care_of(place: QueuePlace, lane: Lane) -> str:
    """How `finish` treats a lane: `1` ours alone, `0` others read it too, empty: entries stay."""
    if lane.name != "stream":
        return "1"
    return "0" if place.queue.owned else ""


def _message(names: Sequence[str], records: Sequence[bytes]) -> bytes:
    """What those who wait are told: the records' keys, then the records, a line each."""
    if not names:
        return b""
    return "\n".join(names).encode() + b"\n" + b"\n".join(records)
