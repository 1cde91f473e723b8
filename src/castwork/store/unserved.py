"""Unserved: tells those who wait for tasks that no worker serves the queue."""

from __future__ import annotations

import asyncio
import logging

from castwork.model.errors import CastworkError
from castwork.store.place import RegisterPlace
from castwork.store.register import Register

logger = logging.getLogger(__name__)

#: Seconds between looks, however many wait.
_INTERVAL = 30.0


class Unserved:
    """Looks whether a live worker serves a queue, for all waits of this process together.

    Args:
        queue: the queue's name.
        place: where the register of workers is.
    """

    def __init__(self, queue: str, place: RegisterPlace) -> None:
        self._queue = queue
        self._place = place
        self._register = Register(place)
        self._next_look = 0.0
        self._looking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Look, unless that was done a short while ago, and warn if nobody serves the queue."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next_look:
            self._next_look = loop.time() + _INTERVAL
            self._looking = loop.create_task(self._look())

    async def _look(self) -> None:
        try:
            self._place.check_open()  # a look must not open what was closed meanwhile
            served = await self.is_served()
        except CastworkError:  # the wait itself tells of a server that is away
            return
        if not served:
            logger.warning(
                "queue %s: tasks of it are awaited, and no live worker serves it: start one with"
                " `castwork worker MODULE:APP --queues %s`, or `castwork up MODULE:APP`",
                self._queue,
                self._queue,
            )

    async def is_served(self) -> bool:
        """Whether a live worker serves the queue.

        Raises:
            ConnectionFailed: no server in time.
        """
        workers = await self._register.workers()
        return any(self._queue in one.info.queues and not one.is_lost for one in workers)
