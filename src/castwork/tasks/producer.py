"""Producer: writes tasks. Every write is idempotent, so a retry never doubles a task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from castwork.model.codec import encode
from castwork.model.entry import Entry, Meta, encode_meta
from castwork.model.errors import PayloadTooLarge, QueueFull
from castwork.model.ids import new_task_id
from castwork.model.record import Record, encode_record
from castwork.model.settings import EnqueueOptions, Limits
from castwork.model.states import Priority, TaskState
from castwork.redis.connections import Connections
from castwork.redis.scripts import ENQUEUE, SCHEDULE
from castwork.tasks.queue import Queue

#: Tasks per script call: large enough to spread its cost, small enough not to block the server.
_GROUP = 250


class Producer:
    """Enqueues tasks of any function.

    Args:
        connections: where to.
        limits: bounds on payloads.
    """

    def __init__(self, connections: Connections, limits: Limits) -> None:
        self._connections = connections
        self._limits = limits

    async def enqueue(self, queue: Queue, task: str, args: bytes, options: EnqueueOptions) -> str:
        """Enqueue one task and return its id.

        Raises:
            QueueFull: the queue is at its `max_depth`.
            PayloadTooLarge: the arguments are over the limit.
            ConnectionFailed: no server in time; `EffectUnknown` when the reply was lost.
        """
        if len(args) > self._limits.payload:
            raise PayloadTooLarge("the task's arguments", len(args), self._limits.payload)
        if not self._connections.is_open:
            await self._connections.open()
        task_id = new_task_id(queue.name)
        if options.delay > 0:
            reply = await self._schedule(queue, task, task_id, args, options)
        else:
            reply = await self._queue(queue, task, [task_id], [args], options)
        if reply[0] == b"key":
            return bytes(reply[1]).decode()
        return task_id

    async def enqueue_many(
        self, queue: Queue, task: str, args: Sequence[bytes], options: EnqueueOptions
    ) -> list[str]:
        """Enqueue many tasks and return their ids, in order.

        They travel in groups; each group is accepted or refused as a whole.

        Raises:
            QueueFull, PayloadTooLarge, ConnectionFailed: as `enqueue`.
        """
        limit = self._limits.payload
        for one in args:
            if len(one) > limit:
                raise PayloadTooLarge("a task's arguments", len(one), limit)
        if options.delay > 0 or options.key is not None:
            calls = [self.enqueue(queue, task, one, options) for one in args]
            return list(await asyncio.gather(*calls))
        if not self._connections.is_open:
            await self._connections.open()
        name = queue.name
        ids = [new_task_id(name) for _ in args]
        await asyncio.gather(
            *(
                self._queue(queue, task, ids[at : at + _GROUP], args[at : at + _GROUP], options)
                for at in range(0, len(ids), _GROUP)
            )
        )
        return ids

    async def _queue(
        self,
        queue: Queue,
        task: str,
        ids: Sequence[str],
        args: Sequence[bytes],
        options: EnqueueOptions,
    ) -> list[Any]:
        keys = [queue.lane_of(options.priority), *map(queue.keys.record, ids)]
        key_ttl = 0
        if options.key is not None:
            keys.append(queue.keys.key(options.key))
            key_ttl = int(options.key_ttl * 1000)
        max_depth = queue.settings.max_depth
        if max_depth:
            keys += queue.streams
        meta = _meta_of(options)
        record = _waiting_record(TaskState.QUEUED, task, options.priority)
        values: list[Any] = [
            len(ids),
            max_depth,
            key_ttl,
            task,
            record,
            encode_meta(meta) if meta is not None else b"",
        ]
        for pair in zip(ids, args, strict=True):
            values += pair
        reply = await self._connections.scripts.run(ENQUEUE, keys, values)
        if reply[0] == b"full":
            raise QueueFull(queue.name, reply[1])
        return list(reply)

    async def _schedule(
        self, queue: Queue, task: str, task_id: str, args: bytes, options: EnqueueOptions
    ) -> list[Any]:
        keys = [queue.keys.record(task_id), queue.keys.scheduled, queue.keys.parked]
        key_ttl = 0
        if options.key is not None:
            keys.append(queue.keys.key(options.key))
            key_ttl = int(options.key_ttl * 1000)
        entry = Entry(task, task_id, args, _meta_of(options))
        parked = parked_json(entry, options.priority, Record(TaskState.QUEUED, task))
        record = encode_record(Record(TaskState.SCHEDULED, task))
        values = [task_id, int(options.delay * 1000), parked, record, key_ttl]
        reply = await self._connections.scripts.run(SCHEDULE, keys, values)
        return list(reply)


def parked_json(entry: Entry, priority: Priority, record: Record | None) -> bytes:
    """An entry as it waits in `parked`, with the record that it gets when it is queued.

    The arguments stay the text that they are, so that nothing is lost on the way through Lua.
    """
    fields = [f if isinstance(f, str) else f.decode() for f in entry.fields()]
    if record is not None:
        record.entry = f"{priority.value}:*"
    text = "" if record is None else encode_record(record).decode()
    return encode({"lane": priority.value, "fields": fields, "record": text})


_waiting_records: dict[tuple[TaskState, str, Priority], bytes] = {}


def _waiting_record(state: TaskState, task: str, priority: Priority) -> bytes:
    """The record of a task that waits; the script puts the entry's id for the star."""
    known = _waiting_records.get((state, task, priority))
    if known is None:
        known = encode_record(Record(state, task, entry=f"{priority.value}:*"))
        _waiting_records[state, task, priority] = known
    return known


def _meta_of(options: EnqueueOptions) -> Meta | None:
    if options.deadline is None and options.attempts is None and options.timeout is None:
        return None
    return Meta(
        expires_ms=int(options.deadline * 1000) if options.deadline is not None else 0,
        max_attempts=options.attempts or 0,
        timeout=options.timeout or 0.0,
    )
