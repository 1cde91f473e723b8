"""Control: hears requests to cancel tasks that run here."""

from __future__ import annotations

import logging

from castwork.redis.pushes import Pushes
from castwork.tasks.attempt import CANCEL
from castwork.tasks.serving import Serving

logger = logging.getLogger(__name__)


class Control:
    """Listens to the control channel of one queue.

    Whoever cancels repeats the request until the task has ended, so a message that is lost
    during a reconnect costs a second, not the cancellation.
    """

    def __init__(self, serving: Serving, pushes: Pushes) -> None:
        self._queue = serving.queue
        self._held = serving.held
        self._pushes = pushes

    async def start(self) -> None:
        """Begin to listen."""
        await self._pushes.add(self._queue.keys.control, self)

    def stop(self) -> None:
        """Stop listening."""
        self._pushes.remove(self._queue.keys.control, self)

    def on_message(self, payload: bytes) -> None:
        """Cancel a task, if it is here."""
        attempt = self._held.find(payload.decode())
        if attempt is not None and not attempt.finished:
            logger.info("task %s is cancelled on request", attempt.task_id)
            attempt.end(CANCEL)

    def on_resumed(self) -> None:
        """Nothing to catch up: requests are repeated."""
