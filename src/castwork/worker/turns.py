"""Turns of the event loop, and work that is repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from castwork.model.errors import ServerError

logger = logging.getLogger(__name__)


async def let_short_tasks_end() -> None:
    """Give what was begun a turn to run, and its outcomes a turn to go out.

    So a server is not busy with the next read before it stores what the last one brought.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def every(work: Callable[[], Awaitable[float]], what: str, *, patience: float) -> None:
    """Do something again and again until cancelled, whatever the server says.

    Args:
        work: returns the seconds to wait until it is done again.
        what: for the log line when the server fails.
        patience: seconds to wait then.
    """
    while True:
        try:
            wait = await work()
        except ServerError as error:
            logger.warning("%s: %s", what, error)
            wait = patience
        await asyncio.sleep(wait)
