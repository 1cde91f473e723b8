"""Heartbeat: keeps a worker's line in the register of live workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from castwork.model.codec import encode
from castwork.model.errors import OutOfMemory
from castwork.model.worker_info import FORGET_AFTER_MS, WorkerInfo
from castwork.store.members import Members
from castwork.worker.turns import every

logger = logging.getLogger(__name__)


class Heartbeat:
    """Tells every `interval` seconds that the worker lives, and what it does.

    Args:
        describe: makes the current info.
    """

    def __init__(
        self,
        members: Members,
        worker_id: str,
        *,
        interval: float,
        describe: Callable[[], WorkerInfo],
    ) -> None:
        self._members = members
        self._worker_id = worker_id
        self._interval = interval
        self._describe = describe
        #: Monotonic time of the last sign of life that the server took.
        self.beaten_at = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        await every(self._beat, "no sign of life was given", patience=self._interval)

    async def _beat(self) -> float:
        await self.beat()
        return self._interval

    async def begin(self) -> None:
        """Give the first sign of life; where the server is out of memory, `run` gives it later."""
        try:
            await self.beat()
        except OutOfMemory as error:
            logger.warning("the worker is not on the register yet: %s", error)

    async def beat(self) -> None:
        """Give one sign of life."""
        await self._members.beat(self._worker_id, encode(self._describe()), FORGET_AFTER_MS)
        self.beaten_at = time.monotonic()

    async def leave(self) -> None:
        """Take the worker off the register."""
        await self._members.leave(self._worker_id)
