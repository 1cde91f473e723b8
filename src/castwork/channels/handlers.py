"""Handlers: the functions that users give for events."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

#: Takes one event; a plain function is called in a thread.
Handler = Callable[[Any], Awaitable[None] | None]


async def call_handler(handler: Handler, event: Any) -> None:
    """Call a handler of any kind, and wait until it is done."""
    if inspect.iscoroutinefunction(handler):
        await handler(event)
        return
    # What only returns an awaitable (a lambda, an object with an async __call__) is awaited, too.
    result = await asyncio.to_thread(handler, event)
    if inspect.isawaitable(result):
        await result
