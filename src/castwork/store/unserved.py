"""Unserved: tells those who wait for tasks that no worker serves the queue."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from castwork.model.errors import CastworkError
from castwork.model.worker_info import WorkerInfo
from castwork.store.members import Members
from castwork.store.place import RegisterPlace

logger = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(WorkerInfo).decode

#: Seconds of silence after which a worker no longer counts.
_SILENT = 10.0

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
        self._workers = Members.of_workers(place)
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
            served = await self._is_served()
        except CastworkError:  # the wait itself tells of a server that is away
            return
        if not served:
            logger.warning(
                "queue %s: tasks of it are awaited, and no live worker serves it: start one with"
                " `castwork worker MODULE:APP --queues %s`, or `castwork up MODULE:APP`",
                self._queue,
                self._queue,
            )

    async def _is_served(self) -> bool:
        for member in await self._workers.alive():
            try:
                info = _decode(member.info)
            except (msgspec.MsgspecError, RecursionError):
                continue
            if self._queue in info.queues and member.silent_for < _SILENT:
                return True
        return False
