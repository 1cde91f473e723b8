"""Heartbeat: keeps a worker's line in the register of live workers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable

import msgspec

from castwork.model.codec import encode
from castwork.model.errors import AuthenticationFailed, ConnectionFailed, OutOfMemory, ServerRefused
from castwork.redis.keys import WorkerKeys
from castwork.redis.link import Link
from castwork.redis.scripts import BEAT, Scripts

logger = logging.getLogger(__name__)

#: Milliseconds of silence after which a worker is taken off the register.
FORGET_AFTER_MS = 30_000

#: Running tasks listed per worker.
LISTED = 100


class RunningTask(msgspec.Struct):
    """A task that a worker runs: id, function, attempt and start (seconds since 1970)."""

    task_id: str
    task: str
    attempt: int
    started_at: float


class WorkerInfo(msgspec.Struct):
    """What a worker tells about itself.

    Attributes:
        id: unique for this start of the process.
        capacity: tasks that it runs at once, over all queues.
        running: tasks that it runs now, at most 100 listed.
        load: how many it runs.
        processed: outcomes since its start, by kind.
    """

    id: str
    host: str
    pid: int
    started_at: float
    queues: list[str]
    capacity: int
    load: int
    running: list[RunningTask]
    processed: dict[str, int]


class Heartbeat:
    """Tells every `interval` seconds that the worker lives, and what it does.

    Args:
        describe: makes the current info.
    """

    def __init__(
        self,
        worker: str,
        keys: WorkerKeys,
        scripts: Scripts,
        link: Link,
        *,
        interval: float,
        describe: Callable[[], WorkerInfo],
    ) -> None:
        self._worker = worker
        self._keys = keys
        self._scripts = scripts
        self._link = link
        self._interval = interval
        self._describe = describe

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.beat()
            except (AuthenticationFailed, ConnectionFailed, ServerRefused) as error:
                logger.warning("no sign of life was given: %s", error)
            await asyncio.sleep(self._interval)

    async def begin(self) -> None:
        """Give the first sign of life; a server without memory gets it later."""
        try:
            await self.beat()
        except OutOfMemory as error:
            logger.warning("the worker is not on the register yet: %s", error)

    async def beat(self) -> None:
        """Give one sign of life."""
        await self._scripts.run(
            BEAT,
            [self._keys.members, self._keys.info],
            [self._worker, encode(self._describe()), FORGET_AFTER_MS, ""],
        )

    async def leave(self) -> None:
        """Take the worker off the register."""
        await asyncio.gather(
            self._link.call("ZREM", self._keys.members, self._worker),
            self._link.call("HDEL", self._keys.info, self._worker),
        )


def describe_process() -> tuple[str, int, float]:
    """Host, process id and the time now, for a worker's info."""
    return socket.gethostname(), os.getpid(), time.time()
