"""Coroutine functions run on the worker's event loop."""

from __future__ import annotations

from typing import Any

from castwork.tasks.function import TaskFunction
from castwork.worker.runnable import Caller


def coroutine_caller(function: TaskFunction[Any, Any]) -> Caller:
    """A caller that returns the function's own coroutine, at no further cost."""
    invoke = function.invoke
    return lambda _attempt, arguments: invoke(arguments)
