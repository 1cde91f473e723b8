"""Plain generators as async ones: a thread iterates, and hands each item to the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from castwork.redis.crossing import Crossing
from castwork.redis.threads import in_thread


def iterated(function: Callable[..., Iterator[Any]]) -> Callable[..., AsyncGenerator[Any, None]]:
    """Make a plain generator function an async one, whose items come from a thread of its own.

    The plain function is the attribute `__wrapped__`.
    """

    @functools.wraps(function)
    async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        crossing = Crossing[Any]()
        iterating = asyncio.ensure_future(
            in_thread(lambda: crossing.send(function(*args, **kwargs)), name="castwork-task")
        )
        try:
            async for item in crossing:
                yield item
            await iterating
        finally:
            crossing.close()
            await asyncio.wait({iterating})

    return generator
