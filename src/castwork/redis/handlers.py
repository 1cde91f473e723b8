"""Handlers: the functions that users give for events and hooks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from castwork.redis.threads import in_thread

#: Takes one event; a plain function is called in a thread.
Handler = Callable[[Any], Awaitable[None] | None]


async def call_handler(handler: Callable[..., Awaitable[None] | None], *arguments: Any) -> None:
    """Call a user's function of any kind, and wait until it is done.

    Coroutine functions run on the event loop, all others in a thread. When a function in a thread
    returns an awaitable, as lambdas and callable objects often do, it is awaited on the loop.
    """
    if inspect.iscoroutinefunction(handler):
        await handler(*arguments)
        return
    result = await in_thread(handler, *arguments, name="castwork-handler")
    if inspect.isawaitable(result):
        await result
