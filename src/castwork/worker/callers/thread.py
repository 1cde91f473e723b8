"""Plain functions run in threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable
from concurrent.futures import Executor
from typing import Any

import msgspec

from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.runnable import Caller


def thread_caller(function: TaskFunction[Any, Any], threads: Executor) -> Caller:
    """A caller that runs the function in a thread, in a copy of the attempt's context.

    A thread cannot be interrupted: the attempt's slot stays taken until the thread is free.
    """
    invoke = function.invoke

    def run(arguments: msgspec.Struct) -> Any:
        try:
            return invoke(arguments)
        except StopIteration as error:  # a future refuses it, so that the attempt would never end
            raise RuntimeError("the function let StopIteration out") from error

    def call(attempt: Attempt, arguments: msgspec.Struct) -> Awaitable[Any]:
        context = contextvars.copy_context()
        attempt.thread = thread = threads.submit(context.run, run, arguments)
        return asyncio.wrap_future(thread)

    return call
