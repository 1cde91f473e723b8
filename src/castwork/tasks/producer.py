"""Producer: enqueues tasks of one queue. A call that is sent again never doubles a task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from castwork.model.call_options import KeyUntil
from castwork.model.errors import KeyConflict, PayloadTooLarge, QueueFull
from castwork.model.ids import PlaceNames, lane_suffix, new_digits, new_producer
from castwork.model.settings import Limits
from castwork.model.states import Priority, TaskState
from castwork.store.enqueues import Named, NamedTask, Row
from castwork.store.queue_store import QueueStore
from castwork.tasks import bulk
from castwork.tasks.gatherer import Gatherer
from castwork.tasks.plan import Plan

#: How often a key that has become free is asked for; others may be quicker each time.
_TRIES = 5

#: What a task is whose key ends with its start: announced as running.
_STARTED = (TaskState.RUNNING,)

_SUFFIXES = {priority: lane_suffix(priority) for priority in Priority}

#: A call with its plan; and the server's answer: the entry's id, or the depth of the full queue.
_Planned = tuple[Plan, bytes]
_Placed = bytes | int

#: A task that was accepted: its id, and whether it is new; None for one that was not.
Accepted = tuple[str, bool] | None


class Producer:
    """Enqueues tasks of all functions of one queue; tasks of one loop tick share a call.

    Args:
        store: the queue.
        limits: bounds on payloads.
    """

    def __init__(self, store: QueueStore, limits: Limits) -> None:
        self.store = store
        self._limit = limits.payload
        self._name = store.queue.name
        self._id_prefix = store.queue.id_prefix
        self._enqueues = store.enqueues
        self._limits = limits
        self._twin: Producer | None = None
        self._pid = 0
        self._producer = ""
        self._places = PlaceNames()
        self._calls: Gatherer[_Planned, _Placed] = Gatherer(self._send)
        self._named: Gatherer[NamedTask, Named | int] = Gatherer(store.enqueues.enqueue_named)

    @property
    def twin(self) -> Producer:
        """The same for the portal, where the twins ending in `_sync` run."""
        if self._twin is None:
            self._twin = Producer(self.store.twin, self._limits)
        return self._twin

    async def enqueue(self, plan: Plan, args: bytes) -> tuple[str, bool]:
        """Enqueue one task; return its id, and whether the task is new.

        Raises:
            QueueFull: the queue is at its `max_depth`.
            KeyConflict: the call's key is that of a task with other arguments.
            PayloadTooLarge: the arguments are over the limit.
            ConnectionFailed: no server in time; `EffectUnknown` when the reply was lost.
        """
        if len(args) > self._limit:
            raise PayloadTooLarge("the task's arguments", len(args), self._limit)
        nonce = self._own_producer() + new_digits()
        size = len(args) + len(plan.meta)
        if plan.is_named:
            return await self._enqueue_named(plan, plan.named(self._id_prefix, nonce, args), size)
        entry = await self._calls.add((plan, plan.call(nonce, args)), size)
        if isinstance(entry, int):
            raise QueueFull(self._name, entry)
        return self._id(plan.lane, entry, nonce), True

    async def _enqueue_named(self, plan: Plan, task: NamedTask, size: int) -> tuple[str, bool]:
        """Enqueue a task whose id does not name its place."""
        reply = await self._add(task, size)
        if task.key is None or reply.created or reply.id == task.id:
            return reply.id, reply.created
        tries = 0
        while tries < _TRIES and await self._has_freed(task.key, plan.settings.key_until, reply.id):
            reply = await self._add(task, size)
            if reply.created:
                return reply.id, True
            tries += 1
        taken = plan.settings.key_taken
        if taken in ("replace", "debounce"):
            delay_ms = task.delay_ms if taken == "debounce" else None
            await self._enqueues.replace(reply.id, task, delay_ms)
        elif taken == "match" and reply.differs:
            raise KeyConflict(task.key[2], reply.id)
        return reply.id, False

    async def _add(self, task: NamedTask, size: int) -> Named:
        reply = await self._named.add(task, size)
        if isinstance(reply, int):
            raise QueueFull(self._name, reply)
        return reply

    async def _has_freed(
        self, key: tuple[str, str, str], until: KeyUntil | None, holder: str
    ) -> bool:
        """Free a key whose time is over; the worker that should have done that may be lost."""
        if until is None:
            return False
        record = await self.store.records.read(holder)
        is_over = record is None or record.status.is_final
        if not is_over:
            is_over = until == "started" and record is not None and record.status in _STARTED
        if is_over:
            await self._enqueues.free_key(key, holder)
        return is_over

    async def enqueue_many(
        self, planned: Sequence[_Planned]
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks, given as plans and arguments.

        They travel in groups, lane by lane; each group is accepted or refused as a whole, and
        behind one that is refused no further one is sent.

        Returns:
            The tasks' ids, in order, with whether each task is new; None for a task that was not
            accepted, as far as is known. And the first error, None for none.

        Raises:
            PayloadTooLarge: as `enqueue`, before any is sent.
        """
        rows: dict[tuple[bool, Priority, bool], list[int]] = {}
        for number, (plan, args) in enumerate(planned):
            if len(args) > self._limit:
                raise PayloadTooLarge("a task's arguments", len(args), self._limit)
            rows.setdefault(plan.kind, []).append(number)
        accepted: list[Accepted] = [None] * len(planned)
        for (is_named, _, _), numbers in rows.items():
            row = [planned[number] for number in numbers] if len(rows) > 1 else planned
            taken, error = await (self._send_named(row) if is_named else self._send_row(row))
            for number, one in zip(numbers, taken, strict=False):
                accepted[number] = one
            if error is not None:
                return accepted, error
        return accepted, None

    async def _send_row(
        self, planned: Sequence[_Planned]
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks that go to one lane; returns as `enqueue_many`."""
        # Their outcomes are told on a channel of their own: a process that waits for a few other
        # tasks of this producer need not hear of all these.
        producer, lane = new_producer(), planned[0][0].lane
        nonces = [producer + new_digits() for _ in planned]
        calls = [
            (plan, plan.call(nonce, args))
            for nonce, (plan, args) in zip(nonces, planned, strict=True)
        ]
        groups = bulk.group(calls, lambda one: len(one[1]) + len(one[0].meta))
        answers = await bulk.send_groups(groups, self._send_whole)
        entries: list[bytes | None] = []
        for group, answer in zip(groups, answers, strict=True):
            entries += answer if isinstance(answer, list) else [None] * len(group)
        accepted = [
            None if entry is None else (self._id(lane, entry, nonce), True)
            for entry, nonce in zip(entries, nonces, strict=True)
        ]
        return accepted, next((a for a in answers if isinstance(a, BaseException)), None)

    async def _send_named(
        self, planned: Sequence[_Planned]
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks whose ids do not name their place, as those that wait for a time."""
        accepted: list[Accepted] = []
        for group in bulk.group(planned, lambda one: len(one[1]) + len(one[0].meta)):
            calls = (self.enqueue(plan, args) for plan, args in group)
            error: BaseException | None = None
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(answer, BaseException):
                    error = error or answer
                accepted.append(None if isinstance(answer, BaseException) else answer)
            if error is not None:
                return accepted, error
        return accepted, None

    def _own_producer(self) -> str:
        """This process's digits in task ids, which name the Redis channel of its tasks' outcomes.

        A forked child draws its own digits.
        """
        if self._pid != os.getpid():
            self._pid, self._producer = os.getpid(), new_producer()
        return self._producer

    async def _send(self, group: Sequence[_Planned]) -> list[_Placed]:
        """Enqueue calls of any plans, as many as the queue's bound allows."""
        rows: list[Row] = []
        for plan, call in group:
            if rows and plan.joins(rows[-1]):
                plan.add_to(rows[-1], call)
            else:
                rows.append(plan.row([call]))
        placed: list[_Placed] = []
        for row, taken in zip(rows, await self._enqueues.enqueue(rows), strict=True):
            placed += taken.entries
            placed += [taken.depth or 0] * (len(row.calls) - len(taken.entries))
        return placed

    async def _send_whole(self, group: list[_Planned]) -> list[bytes]:
        """Enqueue calls of one lane, all or none."""
        plan = group[0][0]
        metas = [one.meta for one, _ in group] if plan.meta else None
        row = Row(plan.lane, [call for _, call in group], metas)
        (taken,) = await self._enqueues.enqueue([row], whole=True)
        if taken.depth is not None:
            raise QueueFull(self._name, taken.depth)
        return taken.entries

    def _id(self, lane: Priority, entry: bytes, nonce: str) -> str:
        return f"{self._id_prefix}-{self._places.name(entry)}{_SUFFIXES[lane]}{nonce}"
