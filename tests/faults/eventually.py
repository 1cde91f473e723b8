"""Wait for something to become true, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    probe: Callable[[], T | Awaitable[T]],
    *,
    within: float = 15.0,
    every: float = 0.02,
    what: str = "",
) -> T:
    """Call `probe` until its value is true, and return that.

    Raises:
        AssertionError: it did not become true within `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or probe}; last value {value!r}")
        await asyncio.sleep(every)
