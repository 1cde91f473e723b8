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


class Plan:
    """What enqueues of one function with the same options have in common, worked out once.

    Attributes:
        gathers: whether calls of one loop tick may share a script call. Those with a bound, a
            key or a delay may not: each must be accepted or refused for itself.
    """

    def __init__(self, queue: Queue, task: str, options: EnqueueOptions) -> None:
        self.queue = queue
        self.task = task
        self.options = options
        self.lane = queue.lane_of(options.priority)
        self.meta = _meta_of(options)
        self.key_ttl_ms = int(options.key_ttl * 1000) if options.key is not None else 0
        meta = encode_meta(self.meta) if self.meta is not None else b""
        max_depth = queue.settings.max_depth
        #: Arguments of the script, after the number of tasks.
        self.head: list[Any] = [max_depth, self.key_ttl_ms, task, options.priority.value, meta]
        self.key = queue.keys.key(f"{task}:{options.key}")
        #: Keys of the script, after the records.
        self.tail: list[str] = []
        if options.key is not None:
            self.tail.append(self.key)
        if max_depth:
            self.tail += queue.streams
        self.gathers = not self.tail and options.delay <= 0


class Producer:
    """Enqueues tasks of any function.

    A lone enqueue goes out at once. While one is under way, those of the same function gather
    and go out together at the end of the loop tick, in one script call.

    Args:
        connections: where to.
        limits: bounds on payloads.
    """

    def __init__(self, connections: Connections, limits: Limits) -> None:
        self._connections = connections
        self._limits = limits
        self._under_way = 0
        self._gathering: dict[Plan, _Gathering] = {}

    async def enqueue(self, plan: Plan, args: bytes) -> str:
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
        task_id = new_task_id(plan.queue.name)
        if plan.gathers and self._under_way:
            await self._gather(plan, task_id, args)
            return task_id
        self._under_way += 1
        try:
            if plan.options.delay > 0:
                reply = await self._schedule(plan, task_id, args)
            else:
                reply = await self._queue(plan, [task_id], [args])
        finally:
            self._under_way -= 1
        return bytes(reply[1]).decode() if reply[0] == b"key" else task_id

    async def enqueue_many(self, plan: Plan, args: Sequence[bytes]) -> list[str]:
        """Enqueue many tasks and return their ids, in order.

        They travel in groups; each group is accepted or refused as a whole.

        Raises:
            QueueFull, PayloadTooLarge, ConnectionFailed: as `enqueue`.
        """
        limit = self._limits.payload
        for one in args:
            if len(one) > limit:
                raise PayloadTooLarge("a task's arguments", len(one), limit)
        if plan.options.delay > 0 or plan.options.key is not None:
            return list(await asyncio.gather(*(self.enqueue(plan, one) for one in args)))
        if not self._connections.is_open:
            await self._connections.open()
        name = plan.queue.name
        ids = [new_task_id(name) for _ in args]
        await asyncio.gather(
            *(
                self._queue(plan, ids[at : at + _GROUP], args[at : at + _GROUP])
                for at in range(0, len(ids), _GROUP)
            )
        )
        return ids

    def _gather(self, plan: Plan, task_id: str, args: bytes) -> asyncio.Future[None]:
        """Join the group of this loop tick; its future tells when the server has the task."""
        group = self._gathering.get(plan)
        if group is None:
            group = self._gathering[plan] = _Gathering()
            asyncio.get_running_loop().call_soon(self._send_group, plan, group)
        group.ids.append(task_id)
        group.args.append(args)
        if len(group.ids) == _GROUP:
            del self._gathering[plan]
        # Shielded, as one caller that leaves must not take the group along.
        return asyncio.shield(group.stored)

    def _send_group(self, plan: Plan, group: _Gathering) -> None:
        if self._gathering.get(plan) is group:
            del self._gathering[plan]
        group.sending = asyncio.ensure_future(self._store_group(plan, group))

    async def _store_group(self, plan: Plan, group: _Gathering) -> None:
        self._under_way += 1
        try:
            await self._queue(plan, group.ids, group.args)
            group.stored.set_result(None)
        except Exception as error:
            group.stored.set_exception(error)
            group.stored.exception()  # seen, also when every caller has left
        finally:
            self._under_way -= 1

    async def _queue(self, plan: Plan, ids: Sequence[str], args: Sequence[bytes]) -> list[Any]:
        names = plan.queue.keys
        keys = [plan.lane, names.entries, *map(names.record, ids), *plan.tail]
        values: list[Any] = [len(ids), *plan.head]
        for pair in zip(ids, args, strict=True):
            values += pair
        reply: list[Any] = await self._connections.scripts.run(ENQUEUE, keys, values)
        if reply[0] == b"full":
            raise QueueFull(plan.queue.name, reply[1])
        return reply

    async def _schedule(self, plan: Plan, task_id: str, args: bytes) -> list[Any]:
        keys = plan.queue.keys
        entry = Entry(plan.task, task_id, args, plan.meta)
        queued = Record(TaskState.QUEUED, plan.task)
        values = [
            task_id,
            int(plan.options.delay * 1000),
            parked_json(entry, plan.options.priority, queued),
            encode_record(Record(TaskState.SCHEDULED, plan.task)),
            plan.key_ttl_ms,
        ]
        names = [keys.record(task_id), keys.scheduled, keys.parked]
        if plan.options.key is not None:
            names.append(plan.key)
        reply: list[Any] = await self._connections.scripts.run(SCHEDULE, names, values)
        return reply


class _Gathering:
    """The enqueues of one loop tick that share a script call."""

    __slots__ = ("args", "ids", "sending", "stored")

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.args: list[bytes] = []
        self.stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sending: asyncio.Future[None] | None = None


def parked_json(entry: Entry, priority: Priority, record: Record | None) -> bytes:
    """An entry as it waits in `parked`, with the record that it gets when it is queued.

    The arguments stay the text that they are, so that nothing is lost on the way through Lua.
    """
    fields = [f if isinstance(f, str) else f.decode() for f in entry.fields()]
    text = "" if record is None else encode_record(record).decode()
    return encode({"lane": priority.value, "fields": fields, "record": text})


def _meta_of(options: EnqueueOptions) -> Meta | None:
    if options.deadline is None and options.attempts is None and options.timeout is None:
        return None
    return Meta(
        expires_ms=int(options.deadline * 1000) if options.deadline is not None else 0,
        max_attempts=options.attempts or 0,
        timeout=options.timeout or 0.0,
    )
