"""Wait for something to become true, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LONGEST = 500  # characters of a last value that a failure quotes


async def eventually(
    probe: Callable[[], T | Awaitable[T]],
    *,
    within: float = 15.0,
    every: float = 0.02,
    what: str = "",
) -> T:
    """Call a function or coroutine function until its value is true, and return that value.

    An error that the probe raises ends the wait at once: a probe asserts nothing that is yet to
    come.

    Raises:
        AssertionError: the value did not become true within `within` seconds. It says what was
            waited for and what was last seen.
    """
    deadline = time.monotonic() + within
    seen: object = "nothing"
    while True:
        value = probe()
        if inspect.isawaitable(value):
            try:
                async with asyncio.timeout(max(every, deadline - time.monotonic())) as limit:
                    value = await value
            except TimeoutError:
                if not limit.expired():
                    raise
                raise _missed(probe, within, what, f"{seen!r}, then no answer") from None
        if value:
            return value
        seen = value
        if time.monotonic() > deadline:
            raise _missed(probe, within, what, repr(seen))
        await asyncio.sleep(every)


def wait_until(
    probe: Callable[[], T], what: str = "", *, within: float = 25.0, every: float = 0.02
) -> T:
    """Do the same as `eventually` in a test without an event loop."""
    deadline = time.monotonic() + within
    while not (seen := probe()):
        if time.monotonic() > deadline:
            raise _missed(probe, within, what, repr(seen))
        time.sleep(every)
    return seen


def _missed(probe: object, within: float, what: str, seen: str) -> AssertionError:
    waited_for = what or getattr(probe, "__qualname__", repr(probe))
    return AssertionError(f"not within {within:g} s: {waited_for}; last seen: {seen[:_LONGEST]}")
