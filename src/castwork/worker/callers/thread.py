"""Plain functions run in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import Executor
from typing import Any

import msgspec

from castwork.redis.threads import call_in_thread
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.runnable import Caller


def thread_caller(function: TaskFunction[Any, Any], threads: Executor) -> Caller:
    """A caller that runs the function in a thread, in a copy of the attempt's context.

    A thread cannot be interrupted: the attempt's slot stays taken until the thread is free. When
    the function returns an awaitable, as a plain decorator around a coroutine function does, it is
    awaited on the event loop.
    """
    invoke = function.invoke

    async def call(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        context = contextvars.copy_context()
        attempt.thread = thread = threads.submit(context.run, call_in_thread, invoke, arguments)
        value = await asyncio.wrap_future(thread)
        return await value if inspect.isawaitable(value) else value

    return call
