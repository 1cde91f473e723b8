"""Turns of the event loop, and work that is repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from castwork.model.errors import ServerError

logger = logging.getLogger(__name__)


async def let_short_tasks_end() -> None:
    """Give tasks that were begun a turn of the loop to run, and their outcomes a turn to go out.

    So the outcomes of short tasks reach the server before the next read does.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def every(
    work: Callable[[], Awaitable[float]],
    what: str,
    *,
    patience: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Do some work again and again until cancelled; log errors of the server and go on.

    Args:
        work: does the work once; returns the seconds to wait before the next time.
        what: begins the log line for an error of the server.
        patience: seconds to wait after such an error.
        sleep: waits.
    """
    while True:
        try:
            wait = await work()
        except ServerError as error:
            logger.warning("%s: %s", what, error)
            wait = patience
        await sleep(wait)
