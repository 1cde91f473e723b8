"""Bounds: when a worker's process ends by itself, to be done or to be started anew."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from castwork.app import App
from castwork.cli.supervise.watched import WatchedWorker
from castwork.model.errors import ServerError
from castwork.model.memory import memory_mb

logger = logging.getLogger(__name__)

#: Seconds between looks.
_INTERVAL = 0.25


class Bounds(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a worker stops by itself.

    Attributes:
        burst: whether it stops once nothing waits in its queues and nothing runs.
        max_tasks: outcomes after which it stops; None for no bound.
        max_memory: megabytes of memory above which it stops; None for no bound.
    """

    burst: bool = False
    max_tasks: int | None = None
    max_memory: int | None = None


async def stop_at(bounds: Bounds, app: App, worker: WatchedWorker) -> None:
    """Stop a worker gracefully when it reaches a bound; cancelled with the worker."""
    if bounds == Bounds():
        return
    await worker.started.wait()
    while True:
        reason = _reached(bounds, worker)
        if not reason and bounds.burst:
            try:
                reason = "nothing waits any more" if await _is_done(app, worker) else ""
            except ServerError as error:
                logger.warning("whether anything waits is not known: %s", error)
        if reason:
            logger.info("stopping: %s", reason)
            worker.stop()
            return
        await asyncio.sleep(_INTERVAL)


def _reached(bounds: Bounds, worker: WatchedWorker) -> str:
    """Which bound is reached, empty for none."""
    if bounds.max_tasks is not None:
        done = sum(worker.describe().processed.values())
        if done >= bounds.max_tasks:
            return f"{done} tasks were the last"
    if bounds.max_memory is not None:
        size = memory_mb()
        if size > bounds.max_memory:
            return f"{size} MB of memory are more than {bounds.max_memory}"
    return ""


async def _is_done(app: App, worker: WatchedWorker) -> bool:
    served = set(worker.describe().queues)
    waiting = [info for info in await app.queues() if info.name in served]
    return not any(info.depth or info.due for info in waiting)
