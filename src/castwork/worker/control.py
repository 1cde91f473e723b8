"""Control: hears requests to cancel tasks that this worker runs."""

from __future__ import annotations

import logging

from castwork.store.place import QueuePlace
from castwork.worker.attempt import Ending
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)


class Control:
    """Listens to the control channel of one queue.

    `Task.cancel` repeats the request until the task has ended, so a message that is lost during a
    reconnect delays the cancellation by a second.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._place: QueuePlace = workload.store.place

    async def start(self) -> None:
        """Begin to listen."""
        await self._place.listen_control(self)

    def stop(self) -> None:
        """Stop listening."""
        self._place.unlisten_control(self)

    def on_message(self, payload: bytes) -> None:
        """Cancel a task, if this worker runs it."""
        attempt = self._workload.find(payload.decode(errors="replace"))
        if attempt is not None and not attempt.finished:
            logger.info("task %s is cancelled on request", attempt.task_id)
            attempt.end(Ending.CANCEL)

    def on_resumed(self) -> None:
        """Nothing to catch up: requests are repeated."""
