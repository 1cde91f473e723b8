"""Plain generators: a thread iterates, and each item is sent as a chunk meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import msgspec

from castwork.model.chunk import CHUNK
from castwork.model.settings import Limits
from castwork.redis.crossing import Crossing
from castwork.redis.threads import call_in_thread
from castwork.tasks.chain import Chain
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.callers.shown import Shown
from castwork.worker.callers.stream import Items
from castwork.worker.callers.subject import call_of
from castwork.worker.runnable import Caller


def thread_stream_caller(
    function: TaskFunction[Any, Any], threads: Executor, limits: Limits, around: Chain
) -> Caller:
    """A caller that iterates in one thread, from the first item to the last.

    When the attempt is ended, the generator is closed at its next item. Until then its slot stays
    taken, as a thread cannot be interrupted.

    Args:
        function: the function.
        threads: iterates.
        limits: bounds on outputs.
        around: the plain wrappers among its wrappers are called in the thread, too.
    """
    plain = function.signature.caller(inspect.unwrap(function.function))

    async def call(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        emitter = attempt.output
        if attempt.number > 1:
            await emitter.reset()
        items, crossing = Items.of(function, limits), Crossing[msgspec.Raw]()

        def iterate() -> Any:
            crossing.send(_encoded(items, iter(plain(arguments))))
            return items.result_of(attempt)

        def wrapped() -> Any:
            shown = Shown(function.decode_result)
            value = around.call_plain(call_of(attempt, arguments), lambda: shown.show(iterate()))
            return shown.settle(value)

        context, work = contextvars.copy_context(), wrapped if around.has_plain else iterate
        attempt.thread = thread = threads.submit(context.run, call_in_thread, work)
        try:
            async for raw in crossing:
                await emitter.emit(CHUNK, raw)
        finally:
            crossing.close()
        value = await asyncio.wrap_future(thread)
        await emitter.flush()
        return value

    return call


def _encoded(items: Items, iterator: Iterator[Any]) -> Iterator[msgspec.Raw]:
    """The items as JSON; the generator is closed when this one is."""
    try:
        for item in iterator:
            yield items.add(item)
    finally:
        if (close := getattr(iterator, "close", None)) is not None:
            close()
