"""Checkpoints: what an attempt saves, for the attempts after it to go on from."""

from __future__ import annotations

from castwork.model.delivery import Delivery
from castwork.model.errors import LeaseLost, PayloadTooLarge
from castwork.store.place import QueuePlace
from castwork.store.scripts import SAVE

#: Milliseconds that a checkpoint is kept behind the last save, unless its task ends before. Without
#: it a task only begins anew, so that it may go by itself: those of dead letters do.
_TTL_MS = 7 * 86_400_000


class Checkpoints:
    """The checkpoints of the tasks of one queue.

    Args:
        place: the queue.
        worker_id: the worker that saves.
        limit: bytes of a checkpoint.
    """

    def __init__(self, place: QueuePlace, worker_id: str, limit: int) -> None:
        self._place = place
        self._worker_id = worker_id
        self._limit = limit

    async def save(self, delivery: Delivery, state: bytes) -> None:
        """Keep an attempt's state, in place of what was saved before.

        Raises:
            PayloadTooLarge: the state is over the limit.
            LeaseLost: the task has passed to another worker.
            ConnectionFailed, ServerRefused: as `Link.call`.
        """
        if len(state) > self._limit:
            raise PayloadTooLarge("what the task saves", len(state), self._limit)
        keys, queue = self._place.keys, self._place.queue
        names = [keys.lanes[delivery.lane], keys.saved(delivery.task_id)]
        args = [queue.group, self._worker_id, delivery.entry_id, delivery.deliveries]
        if not await self._place.run(SAVE, names, [*args, state, _TTL_MS]):
            raise LeaseLost(f"another worker has task {delivery.task_id} now: nothing was saved")

    async def load(self, task_id: str) -> bytes | None:
        """What the last attempt of a task saved; None for nothing.

        Raises:
            ConnectionFailed, ServerRefused: as `Link.call`.
        """
        state: bytes | None = await self._place.call("GET", self._place.keys.saved(task_id))
        return state
