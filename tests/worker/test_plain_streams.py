"""Plain generators: a thread iterates, and the items are chunks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.eventually import eventually

from castwork import App, Backoff, Call, TaskCancelled, TaskDead, current
from castwork.model.errors import DefinitionError
from castwork.redis.crossing import Crossing
from castwork.redis.threads import in_thread
from castwork.testing import inline, run_task


async def test_items_are_chunks_and_come_from_one_thread(app: App) -> None:
    threads: set[int] = set()

    @app.task
    def infer(prompt: str) -> Iterator[str]:
        assert current().attempt == 1
        for word in prompt.split():
            threads.add(threading.get_ident())
            yield word
        threads.add(threading.get_ident())

    async with app.worker():
        task = await infer.enqueue("a b c")
        assert await task.result(timeout=20) == "abc"
        assert [item async for item in task.items()] == ["a", "b", "c"]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_items_arrive_while_the_generator_runs(app: App) -> None:
    go = threading.Event()

    @app.task
    def infer() -> Generator[int, None, None]:
        yield 1
        assert go.wait(20)
        yield 2

    async with app.worker():
        task = await infer.enqueue()
        items = task.items()
        assert await anext(items) == 1
        go.set()
        assert await anext(items) == 2
        assert await task.result(timeout=20) == [1, 2]


async def test_a_function_that_returns_an_iterator_streams_too(app: App) -> None:
    @app.task
    def infer() -> Iterator[int]:
        return iter([1, 2])

    async with app.worker():
        assert await (await infer.enqueue()).result(timeout=20) == [1, 2]


async def test_an_error_ends_the_stream_and_the_next_attempt_begins_anew(app: App) -> None:
    @app.task(backoff=Backoff(base=0.01), attempts=2)
    def infer(fails: int) -> Iterator[int]:
        yield current().attempt
        if current().attempt <= fails:
            raise ValueError("no more tokens")

    async with app.worker():
        assert await (await infer.enqueue(1)).result(timeout=20) == [2]
        with pytest.raises(TaskDead, match="no more tokens"):
            await (await infer.enqueue(2)).result(timeout=20)


async def test_a_cancel_closes_the_generator_at_its_next_item(app: App) -> None:
    go, closed = threading.Event(), threading.Event()

    @app.task
    def infer() -> Iterator[int]:
        try:
            yield 1
            assert go.wait(20)
            yield 2
            pytest.fail("nobody wants another item")
        finally:
            closed.set()

    async with app.worker():
        task = await infer.enqueue()
        items = task.items()
        assert await anext(items) == 1
        assert await task.cancel(timeout=20)
        with pytest.raises(TaskCancelled):
            await task.result(timeout=20)
        go.set()
        await eventually(closed.is_set)


async def test_a_result_apart_from_the_items(app: App) -> None:
    @app.task(result=int)
    def infer() -> Iterator[str]:
        yield "a"
        current().set_result(7)

    async with app.worker():
        assert await (await infer.enqueue()).result(timeout=20) == 7


async def test_plain_wrappers_get_the_result_in_the_thread(app: App) -> None:
    seen: list[Any] = []

    @app.around_task
    def around(call: Call[Any], proceed: Any) -> Any:
        before = threading.get_ident()
        seen.append(proceed())
        seen.append(before == threading.get_ident())
        return "changed"

    @app.task
    def infer() -> Iterator[str]:
        yield "a"
        yield "b"

    async with app.worker():
        assert await (await infer.enqueue()).result(timeout=20) == "changed"
    assert seen == ["ab", True]


async def test_here_it_is_an_async_iterator(app: App) -> None:
    @app.task
    def infer(count: int) -> Iterator[int]:
        yield from range(count)

    assert [item async for item in infer(3)] == [0, 1, 2]
    async for item in infer(1_000_000):
        if item == 5:
            break
    assert (await run_task(infer, 2)).result == [0, 1]
    with inline(app):
        assert await (await infer.enqueue(2)).result() == [0, 1]


def test_no_process_streams(app: App) -> None:
    def infer() -> Iterator[int]:
        yield 1

    with pytest.raises(DefinitionError, match="streams"):
        app.task(run_in="process")(infer)


@given(st.lists(st.integers(), max_size=200), st.integers(0, 250))
async def test_a_crossing_keeps_order_and_closes_the_iterator(items: list[int], most: int) -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield from items
        finally:
            closed.append(True)

    crossing = Crossing[int]()
    sending = asyncio.ensure_future(in_thread(crossing.send, source(), name="sender"))
    got: list[int] = []
    async for item in crossing:
        if len(got) == most:
            break
        got.append(item)
    crossing.close()
    await sending
    assert got == items[:most]
    assert closed == [True]
