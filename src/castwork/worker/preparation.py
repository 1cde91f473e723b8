"""Preparation: what a worker does before it claims tasks, and undoes when the last has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from castwork.redis.handlers import call_handler
from castwork.tasks.resource import Resource, Resources

logger = logging.getLogger(__name__)

#: Called by a worker before it claims tasks: to warm a cache, say.
StartHook = Callable[[], Awaitable[None] | None]


class Preparation:
    """Makes a worker's resources, then calls its start hooks.

    Args:
        resources: the app's resources.
        hooks: functions that are called, one after the other.
        queues: names of the queues that the worker serves.
    """

    def __init__(
        self, resources: Resources, hooks: Sequence[StartHook], queues: Sequence[str]
    ) -> None:
        self._resources = resources
        self._hooks = hooks
        self._queues = queues
        self._opened: list[Resource[Any]] = []

    async def begin(self, stopping: asyncio.Event) -> bool:
        """Prepare; False if the worker was told to stop first, which nothing needs to hold up.

        Raises what a resource or a hook raises.
        """
        preparing = asyncio.create_task(self._prepare())
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({preparing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if preparing.done():
                await preparing
            return not stopping.is_set()
        finally:
            preparing.cancel()
            stopped.cancel()
            await asyncio.wait({preparing, stopped})  # what was made is closed

    async def _prepare(self) -> None:
        self._opened = await self._resources.open(self._queues)
        for hook in self._hooks:
            await call_handler(hook)

    async def end(self) -> None:
        """Close the resources; what that raises is logged."""
        opened, self._opened = self._opened, []
        try:
            await self._resources.close(opened)
        except Exception:
            logger.exception("closing the worker's resources failed")
