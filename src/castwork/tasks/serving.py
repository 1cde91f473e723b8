"""Serving: what the roles of one queue share inside of a worker."""

from __future__ import annotations

import msgspec

from castwork.tasks.attempt import LOST, Attempt
from castwork.tasks.queue import Queue
from castwork.tasks.slots import Slots


class Held:
    """The attempts of one queue that this worker holds: running, or waiting to be committed.

    The lease thread reads it while the event loop changes it; it only takes copies.
    """

    def __init__(self) -> None:
        self._attempts: dict[tuple[int, bytes], Attempt] = {}

    @property
    def attempts(self) -> list[Attempt]:
        """A copy, in the order in which they were claimed."""
        return list(self._attempts.values())

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, attempt: Attempt) -> bool:
        """Hold an attempt; False if this very delivery is held already.

        An earlier delivery of the same entry has lost its lease to this one.
        """
        key = (attempt.lane_number, attempt.entry_id)
        before = self._attempts.get(key)
        if before is not None:
            if before.deliveries >= attempt.deliveries:
                return False
            before.end(LOST)
        self._attempts[key] = attempt
        return True

    def discard(self, attempt: Attempt) -> None:
        """Hold an attempt no longer."""
        key = (attempt.lane_number, attempt.entry_id)
        if self._attempts.get(key) is attempt:
            del self._attempts[key]

    def find(self, task_id: str) -> Attempt | None:
        """The attempt of a task, None if it is not here."""
        for attempt in self._attempts.values():
            if attempt.task_id == task_id:
                return attempt
        return None

    def entries(self, lane_number: int) -> set[bytes]:
        """Ids of the stream entries of one lane that are being worked on."""
        return {entry_id for lane, entry_id in self._attempts if lane == lane_number}


class Serving(msgspec.Struct, frozen=True):
    """One queue as one worker serves it.

    Attributes:
        queue: the queue.
        worker: id of the worker, which is the consumer's name in the groups.
        slots: how many tasks run, and may be claimed.
        held: the attempts that the worker holds.
    """

    queue: Queue
    worker: str
    slots: Slots
    held: Held = msgspec.field(default_factory=Held)
