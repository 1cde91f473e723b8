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
        for _ in range(_TRIES):
            if not await self._is_free_now(plan, task, reply.id):
                break
            reply = await self._add(task, size)
            if reply.created:
                return reply.id, True
        if plan.settings.key_taken == "match" and reply.differs:
            raise KeyConflict(task.key[2], reply.id)
        return reply.id, False

    async def _is_free_now(self, plan: Plan, task: NamedTask, holder: str) -> bool:
        """See to a key that another task has; whether it is free, so that this task may have it.

        A task that waits takes the newer arguments, where that is asked for.
        """
        assert task.key is not None
        taken, until = plan.settings.key_taken, plan.settings.key_until
        is_over = await self._is_over(until, holder)
        if not is_over and taken in ("replace", "debounce"):
            delay_ms = task.delay_ms if taken == "debounce" else None
            has_taken = await self._enqueues.replace(holder, task, delay_ms)
            # A task that does not wait has started, though its worker may not have said so yet.
            is_over = not has_taken and until == "started"
        return is_over and await self._enqueues.free_key(task.key, holder)

    async def _add(self, task: NamedTask, size: int) -> Named:
        reply = await self._named.add(task, size)
        if isinstance(reply, int):
            raise QueueFull(self._name, reply)
        return reply

    async def _is_over(self, until: KeyUntil | None, holder: str) -> bool:
        """Whether a task has had its key; the worker that should have freed it may be lost."""
        if until is None:
            return False
        record = await self.store.records.read(holder)
        if record is None or record.status.is_final:
            return True
        return until == "started" and record.status is TaskState.RUNNING

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
        for number, (plan, _) in enumerate(planned):
            rows.setdefault(plan.kind, []).append(number)
        accepted: list[Accepted] = [None] * len(planned)
        for numbers in rows.values():
            plans, args = zip(*(planned[number] for number in numbers), strict=True)
            taken, error = await self.enqueue_alike(plans[0], args, plans)
            for number, one in zip(numbers, taken, strict=False):
                accepted[number] = one
            if error is not None:
                return accepted, error
        return accepted, None

    async def enqueue_alike(
        self, lead: Plan, args: Sequence[bytes], plans: Sequence[Plan] | None = None
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks of one kind of plan; returns and raises as `enqueue_many`.

        Args:
            lead: the plan, or one of them.
            args: per task its arguments.
            plans: per task its plan; None where all are the one.
        """
        for one in args:
            if len(one) > self._limit:
                raise PayloadTooLarge("a task's arguments", len(one), self._limit)
        if lead.is_named:
            return await self._send_named(plans or [lead] * len(args), args)
        # Their outcomes are told on a channel of their own: a process that waits for a few other
        # tasks of this producer need not hear of all these.
        producer, lane = new_producer(), lead.lane
        nonces = [producer + new_digits() for _ in args]
        if plans is None:
            calls = [lead.call(nonce, one) for nonce, one in zip(nonces, args, strict=True)]
        else:
            given = zip(plans, nonces, args, strict=True)
            calls = [plan.call(nonce, one) for plan, nonce, one in given]
        metas, sizes = None, list(map(len, calls))
        if lead.meta:
            metas = [plan.meta for plan in plans or [lead] * len(args)]
            sizes = [size + len(meta) for size, meta in zip(sizes, metas, strict=True)]

        async def send(some: slice) -> list[bytes]:
            return await self._send_whole(Row(lane, calls[some], metas and metas[some]))

        groups = bulk.group(sizes)
        answers = await bulk.send_groups(groups, send)
        entries: list[bytes | None] = []
        for group, answer in zip(groups, answers, strict=True):
            count = group.stop - group.start
            entries += answer if isinstance(answer, list) else [None] * count
        accepted = [
            None if entry is None else (self._id(lane, entry, nonce), True)
            for entry, nonce in zip(entries, nonces, strict=True)
        ]
        return accepted, next((a for a in answers if isinstance(a, BaseException)), None)

    async def _send_named(
        self, plans: Sequence[Plan], args: Sequence[bytes]
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks whose ids do not name their place, as those that wait for a time."""
        accepted: list[Accepted] = []
        sizes = [len(one) + len(plan.meta) for plan, one in zip(plans, args, strict=True)]
        for some in bulk.group(sizes):
            calls = map(self.enqueue, plans[some], args[some])
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

    async def _send_whole(self, row: Row) -> list[bytes]:
        """Enqueue a row, all or none."""
        (taken,) = await self._enqueues.enqueue([row], whole=True)
        if taken.depth is not None:
            raise QueueFull(self._name, taken.depth)
        return taken.entries

    def _id(self, lane: Priority, entry: bytes, nonce: str) -> str:
        return f"{self._id_prefix}-{self._places.name(entry)}{_SUFFIXES[lane]}{nonce}"
