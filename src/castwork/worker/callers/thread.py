"""Plain functions run in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import Executor
from typing import Any

import msgspec

from castwork.redis.threads import call_in_thread
from castwork.tasks.chain import Chain
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.callers.subject import call_of
from castwork.worker.runnable import Caller


def thread_caller(function: TaskFunction[Any, Any], threads: Executor, around: Chain) -> Caller:
    """A caller that runs the function in a thread, in a copy of the attempt's context.

    A thread cannot be interrupted: the attempt's slot stays taken until the thread is free. When
    the function returns an awaitable, as a plain decorator around a coroutine function does, it is
    awaited on the event loop.

    Args:
        function: the function.
        threads: runs it.
        around: the plain wrappers among its wrappers are called in the thread, too.
    """
    invoke = function.invoke

    def wrapped(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        call = call_of(attempt, arguments)
        return around.call_plain(call, lambda: invoke(arguments))

    async def call(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        context = contextvars.copy_context()
        what: tuple[Any, ...] = (invoke, arguments)
        if around.has_plain:
            what = (wrapped, attempt, arguments)
        attempt.thread = thread = threads.submit(context.run, call_in_thread, *what)
        value = await asyncio.wrap_future(thread)
        return await value if inspect.isawaitable(value) else value

    return call
