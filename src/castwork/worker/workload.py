"""Workload: the attempts of one queue that a worker holds, and how many more it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from castwork.store.queue_store import QueueStore
from castwork.worker.attempt import Attempt, Ending, Origin


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

    Attributes:
        held: per lane the attempts by entry id.
        running: slots that are taken.
        unwanted: tasks that were cancelled while they waited in a stream that others read too; an
            attempt at one of them is dropped.
        paused: whether nothing may begin, as a task runs alone in the worker.
        lingering: attempts that have ended while their plain functions go on in their threads, by
            the monotonic time of the end. Each still takes its slot.
    """

    def __init__(self, store: QueueStore, worker_id: str, capacity: int) -> None:
        self.store = store
        self.queue = store.queue
        self.worker_id = worker_id
        self.capacity = capacity
        self.running = 0
        self.paused = False
        self.unwanted: set[str] = set()
        self.lingering: dict[Attempt, float] = {}
        self.origins = [
            Origin(number, lane.name == "stream", store.outputs)
            for number, lane in enumerate(self.queue.lanes)
        ]
        self.held: list[dict[bytes, Attempt]] = [{} for _ in self.origins]
        self._reserved = 0
        self._closed = False
        self._awaited = False
        self._changed = asyncio.Event()

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
        return 0 if self.paused else self.capacity

    @property
    def free(self) -> int:
        """Tasks that may be claimed now."""
        if self.paused:
            return 0
        return self.capacity - max(self.running, len(self) - self.capacity) - self._reserved

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Keep slots for tasks that are being claimed."""
        self._reserved += count
        try:
            yield
        finally:
            self._reserved -= count
            self.signal()

    def signal(self) -> None:
        """Wake the fetcher that waits for a slot: one may be free."""
        if self._awaited:
            self._awaited = False
            self._changed.set()

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
