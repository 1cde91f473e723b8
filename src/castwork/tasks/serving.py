"""Serving: what the roles of one queue share inside of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from castwork.tasks.attempt import Attempt
from castwork.tasks.queue import Queue
from castwork.tasks.slots import Slots


class Held:
    """The attempts of one queue that this worker holds: running, or waiting to be committed.

    The lease thread reads it while the event loop changes it; it only takes copies.
    """

    def __init__(self) -> None:
        self.attempts: set[Attempt] = set()

    def find(self, task_id: str) -> Attempt | None:
        """The attempt of a task, None if it is not here."""
        for attempt in self.attempts:
            if attempt.task_id == task_id:
                return attempt
        return None

    def holds_entry(self, lane_number: int, entry_id: str) -> bool:
        """Whether a stream entry is being worked on."""
        return any(a.entry_id == entry_id and a.lane_number == lane_number for a in self.attempts)


@dataclass(frozen=True, slots=True)
class Serving:
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
    held: Held = field(default_factory=Held)
