"""OpenTelemetry: enqueues and attempts as spans of one trace, by the messaging conventions.

Needs `pip install 'castwork[otel]'`, which has the API alone: the program chooses its SDK and
exporter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Tracer, TracerProvider

from castwork import App, Call, CastworkError, Chunk, Context, Proceed, Task, current

__all__ = ["follow", "instrument"]


def instrument(app: App, tracer_provider: TracerProvider | None = None) -> None:
    """Have each enqueue and each attempt of an app in a span.

    The trace travels in the task's headers, by the propagator that the program has set, so that an
    attempt's span is a child of the enqueue's; the attempts of one task are siblings. An exception
    of an attempt is recorded on its span. The call of a batch function begins a trace of its own,
    as its items come from several.

    Args:
        app: before its workers start.
        tracer_provider: the global one by default.
    """
    tracer = _tracer(tracer_provider)

    @app.around_enqueue
    async def enqueue(call: Call[Any], proceed: Proceed) -> Any:
        queue = call.function.queue.name
        with tracer.start_as_current_span(
            f"send {queue}", kind=SpanKind.PRODUCER, attributes=_attributes(call, "send")
        ) as span:
            propagate.inject(call.headers)
            task = await proceed()
            span.set_attribute("messaging.message.id", task.id)
            return task

    @app.around_task
    async def attempt(call: Call[Any], proceed: Proceed) -> Any:
        here = _here()
        attributes = _attributes(call, "process")
        if here is not None:
            attributes |= {
                "messaging.destination.name": here.queue,
                "messaging.message.id": here.task_id,
                "castwork.attempt": here.attempt,
            }
        with tracer.start_as_current_span(
            f"process {attributes['messaging.destination.name']}",
            context=propagate.extract(call.headers),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        ) as span:
            try:
                return await proceed()
            except asyncio.CancelledError:
                span.set_attribute("castwork.ending", (here and here.ending) or "cancel")
                raise


async def follow(
    task: Task[Any], *, after: str | None = None, tracer_provider: TracerProvider | None = None
) -> AsyncIterator[Chunk]:
    """`task.chunks(after=...)` in a span, with the time of the first chunk and their number.

    Each chunk is an event only if it is the first: a span per token would cost more than the token.
    """
    with _tracer(tracer_provider).start_as_current_span(
        "receive chunks",
        kind=SpanKind.CLIENT,
        attributes={
            "messaging.system": "castwork",
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.message.id": task.id,
        },
    ) as span:
        count = 0
        try:
            async for chunk in task.chunks(after=after):
                count += 1
                if count == 1:
                    span.add_event("first chunk", {"castwork.kind": chunk.kind})
                yield chunk
        finally:
            span.set_attribute("castwork.chunks", count)


def _tracer(provider: TracerProvider | None) -> Tracer:
    return trace.get_tracer("castwork", tracer_provider=provider)


def _here() -> Context | None:
    try:
        return current()
    except CastworkError:
        return None


def _attributes(call: Call[Any], operation: str) -> dict[str, str | int]:
    return {
        "messaging.system": "castwork",
        "messaging.destination.name": call.function.queue.name,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "castwork.function": call.function.name,
    }
