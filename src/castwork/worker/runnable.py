"""Runnable: a task function with its caller, chosen once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from castwork.tasks.function import TaskFunction

#: Calls a function for an attempt, with decoded arguments; await the result.
Caller = Callable[[Any, msgspec.Struct], Awaitable[Any]]


class Runnable:
    """A task function as a worker runs it.

    Attributes:
        function: the task function.
        name: the function's name.
        decode: decodes arguments.
        call: calls the function for an attempt.
        timeout: seconds that an attempt may take, None for no bound.
        result_ttl_ms: milliseconds that a result is kept.
        gathers: whether an attempt waits for a call with others, and needs no slot of its own.
        limited: the limits of its tasks, those of the queue included; None without any.
        hooked: whether somebody wants to hear of ends of its tasks.
    """

    __slots__ = (
        "call",
        "decode",
        "function",
        "gathers",
        "hooked",
        "limited",
        "name",
        "result_ttl_ms",
        "timeout",
    )

    def __init__(self, function: TaskFunction[Any, Any], call: Caller) -> None:
        self.function = function
        self.name = function.name
        self.decode = function.decode_arguments
        self.call = call
        self.timeout = function.settings.timeout
        self.result_ttl_ms = function.result_ttl_ms
        self.gathers = function.settings.batch is not None
        self.limited = function.limited
        self.hooked = function.is_hooked
