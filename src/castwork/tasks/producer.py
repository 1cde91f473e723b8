"""Producer: enqueues tasks of one queue. A call that is sent again never doubles a task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial

from castwork.model.errors import PayloadTooLarge, QueueFull
from castwork.model.ids import PlaceNames, lane_suffix, new_digits, new_producer
from castwork.model.settings import Limits
from castwork.model.states import Priority
from castwork.store.enqueues import NamedTask, Row
from castwork.store.queue_store import QueueStore
from castwork.tasks import bulk
from castwork.tasks.gatherer import Gatherer
from castwork.tasks.plan import Plan

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
        self._named: Gatherer[NamedTask, tuple[str, bool] | int] = Gatherer(
            store.enqueues.enqueue_named
        )

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
            PayloadTooLarge: the arguments are over the limit.
            ConnectionFailed: no server in time; `EffectUnknown` when the reply was lost.
        """
        if len(args) > self._limit:
            raise PayloadTooLarge("the task's arguments", len(args), self._limit)
        nonce = self._own_producer() + new_digits()
        size = len(args) + len(plan.meta)
        if plan.is_named:
            reply = await self._named.add(plan.named(self._id_prefix, nonce, args), size)
            if isinstance(reply, int):
                raise QueueFull(self._name, reply)
            return reply
        entry = await self._calls.add((plan, plan.call(nonce, args)), size)
        if isinstance(entry, int):
            raise QueueFull(self._name, entry)
        return self._id(plan.lane, entry, nonce), True

    async def enqueue_many(
        self, plan: Plan, args: Sequence[bytes]
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks.

        They travel in groups; each group is accepted or refused as a whole, and behind one that is
        refused no further one is sent.

        Returns:
            The tasks' ids, in order, with whether each task is new; None for a task that was not
            accepted, as far as is known. And the first error, None for none.

        Raises:
            PayloadTooLarge: as `enqueue`, before any is sent.
        """
        for one in args:
            if len(one) > self._limit:
                raise PayloadTooLarge("a task's arguments", len(one), self._limit)
        if plan.is_named:
            return await self._enqueue_named(plan, args)
        # Their outcomes are told on a channel of their own: a process that waits for a few other
        # tasks of this producer need not hear of all these.
        producer = new_producer()
        nonces = [producer + new_digits() for _ in args]
        calls = [plan.call(nonce, one) for nonce, one in zip(nonces, args, strict=True)]
        groups = bulk.group(calls)
        answers = await bulk.send_groups(groups, partial(self._send_whole, plan))
        entries: list[bytes | None] = []
        for group, answer in zip(groups, answers, strict=True):
            entries += answer if isinstance(answer, list) else [None] * len(group)
        lane = plan.lane
        accepted = [
            None if entry is None else (self._id(lane, entry, nonce), True)
            for entry, nonce in zip(entries, nonces, strict=True)
        ]
        return accepted, next((a for a in answers if isinstance(a, BaseException)), None)

    async def _enqueue_named(
        self, plan: Plan, args: Sequence[bytes]
    ) -> tuple[list[Accepted], BaseException | None]:
        """Enqueue many tasks whose ids do not name their place, as those that wait for a time."""
        accepted: list[Accepted] = []
        error: BaseException | None = None
        for group in bulk.group(args):
            calls = (self.enqueue(plan, one) for one in group)
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(answer, BaseException):
                    error = error or answer
                accepted.append(None if isinstance(answer, BaseException) else answer)
            if error is not None:
                break
        return [*accepted, *[None] * (len(args) - len(accepted))], error

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

    async def _send_whole(self, plan: Plan, calls: list[bytes]) -> list[bytes]:
        """Enqueue calls of one plan, all or none."""
        (taken,) = await self._enqueues.enqueue([plan.row(calls)], whole=True)
        if taken.depth is not None:
            raise QueueFull(self._name, taken.depth)
        return taken.entries

    def _id(self, lane: Priority, entry: bytes, nonce: str) -> str:
        return f"{self._id_prefix}-{self._places.name(entry)}{_SUFFIXES[lane]}{nonce}"
