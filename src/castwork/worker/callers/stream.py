"""Async generators: each item is sent as a chunk while the function runs."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.errors import PayloadTooLarge
from castwork.model.settings import Limits
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.runnable import Caller


def stream_caller(function: TaskFunction[Any, Any], limits: Limits) -> Caller:
    """A caller that sends each item as a chunk, and makes the result of all items."""
    invoke, joins_text, most = function.invoke, function.signature.joins_text, limits.result

    async def call(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        emitter, generator = attempt.output, invoke(arguments)
        if attempt.number > 1:
            await emitter.reset()
        items: list[Any] = []
        size = 0
        try:
            async for item in generator:
                items.append(item)
                size += len(item) if isinstance(item, str) else 16
                if size > most:
                    raise PayloadTooLarge("the task's output", size, most)
                await emitter.emit("chunk", item)
        finally:
            await generator.aclose()
        await emitter.flush()
        return "".join(items) if joins_text else items

    return call
