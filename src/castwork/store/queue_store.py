"""QueueStore: what Redis holds of one queue, one object per concern."""

from __future__ import annotations

from collections.abc import Callable

from castwork.model.queue import Queue
from castwork.model.record import TaskStatus
from castwork.model.settings import Limits
from castwork.redis.connections import Connections
from castwork.store.admissions import Admissions
from castwork.store.checkpoints import Checkpoints
from castwork.store.claims import Claims
from castwork.store.enqueues import Enqueues
from castwork.store.entries import Entries
from castwork.store.letters import Letters
from castwork.store.outcomes import Outcomes
from castwork.store.outputs import Outputs
from castwork.store.parked import Parked
from castwork.store.pauses import Pauses
from castwork.store.place import QueuePlace, RegisterPlace
from castwork.store.records import Records
from castwork.store.schedules import Schedules
from castwork.store.steps import Steps
from castwork.store.told import Told
from castwork.store.unserved import Unserved
from castwork.store.waiting import Waiting
from castwork.store.watches import Watches


class QueueStore:
    """The parts of one queue; the transitions are methods of the parts.

    Attributes:
        queue: the queue.
        limits: bounds on payloads and outputs.
        follow_up: makes the field `call` of the task that follows the end of another, empty where
            none does.
        beside: finds another queue of castwork's own, by its name.
        place: the queue's keys, and the way to their server.
        enqueues: how tasks get in.
        records: what is known of tasks.
        told: tells this process the outcomes of tasks.
        outputs: the chunks of tasks.
        parked: tasks that wait for a time.
        steps: tasks that wait for others.
        letters: tasks that ran out of attempts, or can never run.
        entries: what tasks were called with.
        schedules: tasks that run again and again.
        pauses: whether workers may begin tasks.
        waiting: which tasks wait.
        watches: who follows tasks that are cancelled when nobody does.
        unserved: warns those who wait for tasks that nobody serves.
    """

    def __init__(
        self, connections: Connections, namespace: str, queue: Queue, limits: Limits
    ) -> None:
        self.queue = queue
        self.limits = limits
        self._namespace = namespace
        self._twin: QueueStore | None = None
        self.follow_up: Callable[[TaskStatus], bytes] = lambda _: b""
        self.beside: Callable[[str], QueueStore] = lambda _: self
        self.place = place = QueuePlace(connections, namespace, queue)
        self.enqueues = Enqueues(place)
        self.records = Records(place)
        self.told = Told(place)
        self.outputs = Outputs(place, limits.output)
        self.parked = Parked(place)
        self.steps = Steps(place, self.parked)
        self.letters = Letters(place, limits.dead_letters)
        self.entries = Entries(place, self.letters)
        self.schedules = Schedules(place)
        self.pauses = Pauses(place)
        self.waiting = Waiting(place)
        self.watches = Watches(place)
        self.unserved = Unserved(queue.name, RegisterPlace(connections, namespace))

    @property
    def twin(self) -> QueueStore:
        """The same for the portal, where the twins ending in `_sync` run."""
        if self._twin is None:
            connections = self.place.connections.twin
            self._twin = QueueStore(connections, self._namespace, self.queue, self.limits)
            self._twin.follow_up = self.follow_up
            self._twin.beside = lambda name: self.beside(name).twin
        return self._twin

    def claims(self, worker_id: str) -> Claims:
        """The claims of one worker."""
        return Claims(self.place, worker_id)

    def admissions(self, worker_id: str, lease: float) -> Admissions:
        """The limits, as one worker passes them; `lease` in seconds."""
        return Admissions(self.place, worker_id, int(lease * 1000))

    def checkpoints(self, worker_id: str) -> Checkpoints:
        """What the tasks of one worker save."""
        return Checkpoints(self.place, worker_id, self.limits.payload)

    def outcomes(self, worker_id: str) -> Outcomes:
        """The outcomes that one worker stores."""
        return Outcomes(self.place, worker_id)
