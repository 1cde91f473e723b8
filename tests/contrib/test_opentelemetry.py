"""Spans of enqueues, attempts and readers make one trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from castwork import App, Backoff, Batch, current
from castwork.contrib.opentelemetry import follow, instrument


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


async def test_a_trace_goes_from_the_caller_through_all_attempts(
    app: App, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    tracer = provider.get_tracer("test")
    instrument(app, provider)

    @app.task(queue="q", attempts=2, backoff=Backoff(base=0.001))
    def flaky() -> int:
        with tracer.start_as_current_span("inside"):
            if current().attempt == 1:
                raise ValueError("once")
        return 1

    async with app, app.worker(scheduler_interval=0.02):
        with tracer.start_as_current_span("caller"):
            task = await flaky.enqueue()
        await task.result(timeout=10)
    [caller], [send] = named(exporter, "caller"), named(exporter, "send q")
    attempts, inside = named(exporter, "process q"), named(exporter, "inside")
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 1
    assert parent_of(send) == caller.context.span_id
    assert {parent_of(one) for one in attempts} == {send.context.span_id}
    assert [parent_of(one) for one in inside] == [one.context.span_id for one in attempts]
    assert (send.kind, attempts[0].kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert dict(send.attributes or {}) == {
        "messaging.system": "castwork",
        "messaging.destination.name": "q",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": task.id,
        "castwork.function": "flaky",
    }
    assert [(one.attributes or {})["castwork.attempt"] for one in attempts] == [1, 2]
    assert [one.status.status_code for one in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert [event.name for event in attempts[0].events] == ["exception"]


async def test_tasks_inside_of_tasks_are_in_the_trace(
    app: App, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    instrument(app, provider)

    @app.task(queue="q")
    async def inner() -> None: ...

    @app.task(queue="q")
    async def outer() -> None:
        await (await inner.enqueue()).result(timeout=10)

    async with app, app.worker():
        await (await outer.enqueue()).result(timeout=10)
    sends, attempts = named(exporter, "send q"), named(exporter, "process q")
    by_task = {(one.attributes or {})["castwork.function"]: one for one in attempts}
    assert {parent_of(one) for one in sends if one.parent} == {by_task["outer"].context.span_id}
    assert len({one.context.trace_id for one in sends + attempts}) == 1


async def test_readers_count_chunks_and_a_cancel_says_why(
    app: App, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    instrument(app, provider)

    @app.task(queue="q")
    async def spell(word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter
        if word == "stop":
            await asyncio.Event().wait()

    async with app, app.worker():
        task = await spell.enqueue("abc")
        chunks = [chunk.data async for chunk in follow(task, tracer_provider=provider)]
        assert chunks == ["a", "b", "c"]
        endless = await spell.enqueue("stop")
        async for _ in endless.items():
            break
        assert await endless.cancel(timeout=10)
    [reading] = named(exporter, "receive chunks")
    assert (reading.attributes or {})["castwork.chunks"] == 3
    assert [event.name for event in reading.events] == ["first chunk"]
    assert (named(exporter, "process q")[-1].attributes or {})["castwork.ending"] == "cancel"


async def test_a_batch_has_one_span(
    app: App, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    instrument(app, provider)

    @app.task(queue="q", batch=Batch(max_size=10))
    async def double(numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]

    async with app, app.worker():
        assert await (await double.enqueue(4)).result(timeout=10) == 8
    [call] = named(exporter, "process q")
    assert "messaging.message.id" not in (call.attributes or {})


async def test_without_an_sdk_nothing_is_sent(app: App) -> None:
    instrument(app)
    assert not trace.get_current_span().get_span_context().is_valid
    seen: list[dict[str, str]] = []

    @app.task(queue="q")
    async def work() -> None:
        seen.append(dict(current().headers))

    async with app, app.worker():
        await (await work.enqueue()).result(timeout=10)
    assert seen == [{}]
