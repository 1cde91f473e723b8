"""Workload: the attempts of one queue that a worker holds, and how many more it may take."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from castwork.store.queue_store import QueueStore
from castwork.worker.attempt import Attempt, Ending, Origin
from castwork.worker.bound import Bound
from castwork.worker.lending import Lending

#: Why a worker begins no task of a queue: another task runs alone in it, or the queue is paused.
Pause = Literal["alone", "queue"]


class Workload:
    """The attempts of one queue that this worker holds: running, or waiting to be stored.

    An attempt takes a slot when it is claimed, frees the slot when its code is done (in a thread,
    when the thread is), and is held until its outcome is stored. When outcomes cannot be stored,
    claiming stops at twice the capacity. The event loop alone changes a workload; the lease thread
    takes copies.

    Args:
        store: the queue.
        worker_id: the worker's unique id.
        capacity: tasks that run at once.
        bound: the slots of all queues of the worker, None where there is this queue alone.

    Attributes:
        held: per lane the attempts by entry id.
        running: slots that are taken, by attempts that run or wait.
        waiting: attempts that were claimed and wait for a slot.
        lending: attempts that wait for other tasks, and have no slot meanwhile.
        rank: the queue's place among the worker's queues.
        fill: runs attempts that wait, as far as slots are free.
        places: attempts that may be claimed beyond the slots, as they wait for a call with others.
        gathered: attempts that wait so.
        unwanted: tasks that were cancelled while they waited in a stream that others read too; an
            attempt at one of them is dropped.
        renewed_at: monotonic time when all leases were renewed last.
        paused: why nothing may begin: a task runs alone in the worker, the queue is paused.
        lingering: attempts that have ended while their plain functions go on in their threads, by
            the monotonic time of the end. Each still takes its slot.
    """

    def __init__(
        self, store: QueueStore, worker_id: str, capacity: int, bound: Bound | None = None
    ) -> None:
        self.store = store
        self.queue = store.queue
        self.worker_id = worker_id
        self.capacity = capacity
        self.running = 0
        self.places = 0
        self.gathered = 0
        self.paused: set[Pause] = set()
        self.renewed_at = time.monotonic()
        self.unwanted: set[str] = set()
        self.waiting: deque[Attempt] = deque()
        self.lending = Lending(self)
        self.fill: Callable[[], None] = lambda: None
        self.lingering: dict[Attempt, float] = {}
        self.origins = [
            Origin(
                self.queue.name,
                number,
                lane.name == "stream",
                store.outputs,
                store.checkpoints(worker_id),
                self.lending,
            )
            for number, lane in enumerate(self.queue.lanes)
        ]
        self.held: list[dict[bytes, Attempt]] = [{} for _ in self.origins]
        self._reserved = 0
        self._closed = False
        self._awaited = False
        self._changed = asyncio.Event()
        self._bound = bound
        self.rank = 0 if bound is None else bound.join(self)

    # -- attempts -----------------------------------------------------------------------

    @property
    def attempts(self) -> list[Attempt]:
        """A copy of all attempts held, lane by lane, in the order in which they were claimed."""
        return [attempt for lane in self.held for attempt in list(lane.values())]

    def __len__(self) -> int:
        return sum(map(len, self.held))

    def add(self, attempt: Attempt) -> bool:
        """Hold an attempt; False if the same delivery is held already.

        An earlier delivery of the same entry has lost its lease to this attempt, and is ended.
        """
        lane = self.held[attempt.lane]
        before = lane.get(attempt.entry_id)
        if before is not None:
            if before.deliveries >= attempt.deliveries:
                return False
            before.end(Ending.LOST)
        lane[attempt.entry_id] = attempt
        return True

    def discard(self, attempt: Attempt) -> None:
        """Stop holding an attempt: its outcome is stored, or its lease is lost."""
        lane = self.held[attempt.lane]
        if lane.get(attempt.entry_id) is attempt:
            del lane[attempt.entry_id]
        self.signal()

    def find(self, task_id: str) -> Attempt | None:
        """The attempt of a task, None if this worker holds none."""
        return next((a for a in self.attempts if a.task_id == task_id), None)

    # -- slots --------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Tasks that may run at once, at present."""
        return 0 if self.paused else self._room

    @property
    def _room(self) -> int:
        if self._bound is None:
            return self.capacity
        return min(self.capacity, self._bound.room_for(self))

    @property
    def has_room(self) -> bool:
        """Whether an attempt that was begun may go on, also while nothing may begin."""
        return self.running - len(self.waiting) < self._room

    @property
    def busy(self) -> int:
        """Slots that tasks have, or want to go on."""
        held = len(self) - len(self.lending.lenders)
        return max(self.running, held - self.capacity) + len(self.lending.resuming)

    @property
    def taken(self) -> int:
        """Slots that tasks have, or that are kept for tasks that are being claimed."""
        return self.busy + self._reserved

    @property
    def is_full(self) -> bool:
        """Whether tasks have all slots, so that nothing can be claimed until some end."""
        if self.paused or self.gathered < self.places:
            return bool(self.paused)
        if self.busy >= self.capacity:
            return True
        return self._bound is not None and self._bound.is_full

    @property
    def free(self) -> int:
        """Tasks that may be claimed now."""
        if self.paused:
            return 0
        free = self.capacity - self.taken
        if self._bound is not None:
            free = min(free, self._bound.free)
        return max(free, self.places - self.gathered - self._reserved) if self.places else free

    @property
    def most(self) -> int:
        """Tasks that may be held at once before their code begins or while it runs."""
        return max(self.capacity, self.places)

    def pause(self, reason: Pause) -> None:
        """Begin nothing more, until `go_on` takes the last reason away."""
        self.paused.add(reason)

    def go_on(self, reason: Pause) -> None:
        """Take a reason for the pause away."""
        self.paused.discard(reason)
        self.freed()

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Keep slots for tasks that are being claimed."""
        self._reserved += count
        try:
            yield
        finally:
            self._reserved -= count
            self.signal()

    def freed(self) -> None:
        """A slot may be free: run what waits in this worker, then let fetchers claim."""
        if self._bound is not None:
            self._bound.freed()
        else:
            self.settle()
            self.signal()

    def settle(self) -> None:
        """Run what waits for a slot of this queue in this worker, as far as slots are free."""
        if self.lending.resuming:
            self.lending.settle()
        if self.waiting:
            self.fill()

    def signal(self) -> None:
        """Wake fetchers that wait for a slot: one may be free."""
        if self._bound is not None:
            self._bound.signal()
        elif self._awaited:
            self._awaited = False
            self._changed.set()

    def wake(self) -> bool:
        """Wake this queue's fetcher if it waits and may claim; whether it was woken."""
        if not self._awaited or self.free <= 0:
            return False
        self._awaited = False
        self._changed.set()
        return True

    async def wait_free(self) -> None:
        """Wait until a slot is free, or `close` is called."""
        while self.free <= 0 and not self._closed:
            self._changed.clear()
            self._awaited = True
            await self._changed.wait()

    def close(self) -> None:
        """End the fetcher's wait for a slot, as nothing is claimed any more."""
        self._closed = True
        self._changed.set()
