"""Admissions: lets claimed tasks pass the limits of their functions, or holds them back."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from castwork.model.delivery import Delivery
from castwork.model.entry import Entry
from castwork.model.states import Priority
from castwork.store.parked import parked_task
from castwork.store.place import QueuePlace
from castwork.store.scripts import HEAL_LIMITS, LEAVE_LIMITS, PASS_LIMITS, WAKE_LIMITS

#: Limits and tasks that one call wakes, at most.
_COUNT = 100


class Answer(IntEnum):
    """What becomes of a task that asks to pass its limits."""

    LOST = -1
    HELD = 0
    PASSED = 1
    CLOSED = 2


class Asked(msgspec.Struct):
    """A claimed task that asks to pass its limits.

    Attributes:
        delivery: its delivery.
        at: the server's milliseconds when it was enqueued: of two the older goes first.
        limits: per limit its key, and what the server is told of it; in the order in which tasks
            take them. A line is the first of them.
        expires_ms: the server's milliseconds of its deadline, 0 for none.
        entry: the entry under which it waits; None until it has to.
        record: its record while it waits, empty for none.
    """

    delivery: Delivery
    at: int
    limits: list[tuple[str, str]]
    expires_ms: int = 0
    entry: Entry | None = None
    record: bytes = b""


class Ended(msgspec.Struct):
    """An attempt that has ended, and may have had places.

    Attributes:
        delivery: the delivery that passed.
        places: its places, each with what the server is told of the limit.
        for_good: whether the task has ended with it.
    """

    delivery: Delivery
    places: list[tuple[str, str]]
    for_good: bool


class Healing(NamedTuple):
    """How far a look for what is gone has come.

    Attributes:
        places: cursor of the places.
        promise: the promise that was looked at last, empty at the beginning.
        turns: cursor of the tasks in lines.
        place: the place that was looked at last, empty at the beginning; so are the next two.
        in_line: the last in a line.
        waiter: the last who waits at a limit.
    """

    places: bytes = b"0"
    promise: bytes = b""
    turns: bytes = b"0"
    place: bytes = b""
    in_line: bytes = b""
    waiter: bytes = b""


class Admissions:
    """The limits of one queue's tasks, for one worker. All calls are idempotent.

    Args:
        place: the queue.
        worker_id: the worker.
        lease_ms: milliseconds that a lease lasts: so long a lost worker's tasks keep their places.
    """

    def __init__(self, place: QueuePlace, worker_id: str, lease_ms: int) -> None:
        self._place = place
        self._worker_id = worker_id
        self._lease_ms = lease_ms
        self._keys = place.keys.limits
        queue = place.queue
        self._deletes = [int(lane.name != "stream" or queue.owned) for lane in queue.lanes]

    async def enter(self, asked: Sequence[Asked]) -> tuple[list[Answer], float | None]:
        """Let tasks pass, or hold them back; one that is to be held back needs its entry.

        Returns:
            Per task the answer, and the seconds until `wake` should be called; None for no call.

        Raises:
            ConnectionFailed, ServerRefused: as `Link.call`.
        """
        keys, place = self._place.keys, self._place
        names = [*self._keys, *keys.lanes]
        args: list[Any] = [len(keys.lanes), self._worker_id, place.queue.group, self._lease_ms]
        args += self._deletes
        for one in asked:
            delivery, parked = one.delivery, b""
            names.append(keys.record(delivery.task_id))
            if one.entry is not None:
                # It is queued again in the urgent lane: it has had its turn in its own.
                parked = b"%d %b" % (one.entry.at, parked_task(one.entry, Priority.HIGH, b""))
            args += (delivery.task_id, delivery.lane + 1, delivery.entry_id, delivery.deliveries)
            args += (f"{one.at:020d}", parked, one.record, place.told(delivery.producer))
            args += (one.expires_ms, len(one.limits))
            for limit in one.limits:
                args += limit
        next_ms, *answers = await place.run(PASS_LIMITS, names, args)
        return [Answer(answer) for answer in answers], _seconds(next_ms)

    async def leave(self, ended: Sequence[Ended]) -> float | None:
        """Give back the places of attempts that have ended.

        Returns:
            The seconds until `wake` should be called; None for no call.
        """
        args: list[Any] = []
        for one in ended:
            delivery = one.delivery
            mine = f"{delivery.lane + 1} {delivery.entry_id.decode()} {delivery.deliveries}"
            args += (delivery.task_id, f"{mine} {self._lease_ms} {self._worker_id}")
            args += (int(one.for_good), len(one.places))
            for limit in one.places:
                args += limit
        return _seconds(await self._place.run(LEAVE_LIMITS, self._keys, args))

    async def are_some_held(self) -> bool:
        """Whether limits hold back any task of the queue."""
        return bool(await self._place.call("ZCARD", self._place.keys.waiters))

    async def wake(self) -> float | None:
        """Queue what was held back and has room now; returns as `leave`."""
        return _seconds(await self._place.run(WAKE_LIMITS, self._keys, [_COUNT]))

    async def heal(self, before: Healing) -> Healing:
        """Look at some places, promises and turns, and give back those of what is gone.

        Args:
            before: how far the last look has come.

        Returns:
            How far this look has come.
        """
        names = [*self._keys, *self._place.keys.lanes]
        args = [self._place.queue.group, *before]
        *after, _ = await self._place.run(HEAL_LIMITS, names, args)
        return Healing(*after)


def _seconds(next_ms: int) -> float | None:
    return next_ms / 1000 if next_ms >= 0 else None
