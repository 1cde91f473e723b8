"""QueueStore: all that Redis holds of one queue, by concern."""

from __future__ import annotations

from castwork.model.queue import Queue
from castwork.model.settings import Limits
from castwork.redis.connections import Connections
from castwork.store.claims import Claims
from castwork.store.enqueues import Enqueues
from castwork.store.letters import Letters
from castwork.store.outcomes import Outcomes
from castwork.store.outputs import Outputs
from castwork.store.parked import Parked
from castwork.store.place import QueuePlace
from castwork.store.records import Records
from castwork.store.told import Told


class QueueStore:
    """What one queue consists of. It only holds the parts; each has its transitions.

    Attributes:
        queue: the queue.
        place: its keys, and the way to their server.
        enqueues: how tasks get in.
        records: what is known of them.
        told: who hears of their outcomes.
        outputs: their chunks.
        parked: those that wait for something other than a worker.
        letters: those that ran out of attempts.
    """

    def __init__(
        self, connections: Connections, namespace: str, queue: Queue, limits: Limits
    ) -> None:
        self.queue = queue
        self.place = place = QueuePlace(connections, namespace, queue)
        self.enqueues = Enqueues(place)
        self.records = Records(place)
        self.told = Told(place)
        self.outputs = Outputs(place, limits.output)
        self.parked = Parked(place)
        self.letters = Letters(place)

    def claims(self, worker_id: str) -> Claims:
        """How a worker gets its tasks."""
        return Claims(self.place, worker_id)

    def outcomes(self, worker_id: str) -> Outcomes:
        """How a worker stores what becomes of them."""
        return Outcomes(self.place, worker_id)
