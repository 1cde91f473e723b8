"""Patience: what happens when a wait for a task takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from castwork.store.unserved import Unserved
from castwork.tasks.context import attempt_here

#: Seconds of waiting after which it is time to ask whether any worker serves the queue.
_SOON = 3.0

#: Seconds between looks at a task of which nothing is told: nothing tells of keys that were
#: deleted.
_LOOK_AGAIN = 30.0


class Patience:
    """Of one wait for a task: warns soon where nobody serves the queue, and looks again later."""

    __slots__ = ("_loop", "_timer", "_unserved")

    def __init__(self, unserved: Unserved) -> None:
        self._unserved = unserved
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, news: Awaitable[object], look_again: Callable[[], None]) -> None:
        """Wait for news. Inside of a task its slot is lent meanwhile, so that others may run.

        Args:
            news: ends the wait.
            look_again: called when the wait has taken long, and must end it.
        """
        self._timer = self._loop.call_later(_SOON, self._on_soon, look_again)
        try:
            attempt = attempt_here()
            if attempt is None:
                await news
            else:
                async with attempt.lend_slot():
                    await news
        finally:
            self._timer.cancel()

    def _on_soon(self, look_again: Callable[[], None]) -> None:
        self._unserved.look()
        self._timer = self._loop.call_later(_LOOK_AGAIN - _SOON, look_again)
