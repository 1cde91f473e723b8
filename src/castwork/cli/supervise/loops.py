"""The event loop of the long-running commands."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on uvloop where it is installed.

    An asyncio task that raises SystemExit stops its loop (https://docs.python.org/3/library/
    asyncio-task.html). Such a task may be any that a user's code has started, and neither the
    neighbours nor the process should end with it: the loop goes on.
    """
    with asyncio.Runner(loop_factory=_factory()) as runner:
        loop = runner.get_loop()
        running = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(running)
            except SystemExit as error:
                if running.done():
                    raise
                logger.error("an asyncio task raised %r; the process goes on", error)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
