"""Task functions of every kind, from the call to the result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import BaseModel

from castwork import App, Chunk, TaskState, current
from castwork.model.errors import (
    InvalidArguments,
    PayloadTooLarge,
    ResultTimeout,
    TaskDead,
    TaskExpired,
    TaskNotFound,
)


@dataclass
class Point:
    x: int
    y: int


class Order(BaseModel):
    number: int


async def test_a_coroutine_gives_its_result(app: App) -> None:
    @app.task(queue="math")
    async def add(a: int, b: int = 2) -> int:
        return a + b

    async with app, app.worker():
        assert await (await add.enqueue(1)).result(timeout=10) == 3
        assert await (await add.enqueue(1, b=5)).result(timeout=10) == 6


async def test_a_deadline_counts_while_all_slots_are_taken(app: App) -> None:
    running: asyncio.Queue[int] = asyncio.Queue()
    go = asyncio.Event()

    @app.task
    async def hold(number: int) -> None:
        running.put_nowait(number)
        await go.wait()

    async def server_ms() -> int:
        seconds, micros = await app.connections.links()[0].call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async with app, app.worker(concurrency=8):
        for number in range(8):  # in turn, so that each finds the worker waiting for it
            await hold.enqueue(number)
            assert await asyncio.wait_for(running.get(), 10) == number
        late = await hold.options(deadline=0.05).enqueue(8)
        enqueued = await server_ms()
        while await server_ms() <= enqueued + 60:
            pass
        go.set()
        with pytest.raises(TaskExpired):
            await late.result(timeout=10)
    assert running.empty()


async def test_calling_a_task_function_runs_it_here(app: App) -> None:
    @app.task
    async def double(number: int) -> int:
        return number * 2

    assert await double(4) == 8


async def test_a_plain_function_runs_in_a_thread(app: App) -> None:
    @app.task
    def where() -> str:
        assert current().attempt == 1
        return threading.current_thread().name

    async with app, app.worker():
        assert "castwork-task" in await (await where.enqueue()).result(timeout=10)


async def test_rich_results_keep_their_types(app: App) -> None:
    @app.task
    async def mirror(point: Point) -> Point:
        return Point(point.y, point.x)

    @app.task
    async def order(number: int) -> Order:
        return Order(number=number)

    async with app, app.worker():
        assert await (await mirror.enqueue(Point(1, 2))).result(timeout=10) == Point(2, 1)
        assert await (await order.enqueue(7)).result(timeout=10) == Order(number=7)


async def test_a_generator_streams_and_its_text_is_the_result(app: App) -> None:
    @app.task
    async def chat(prompt: str) -> AsyncIterator[str]:
        for word in prompt.split():
            yield word + " "

    async with app, app.worker():
        task = await chat.enqueue("to be or not")
        chunks = [chunk async for chunk in task.chunks()]

        assert [chunk.data for chunk in chunks] == ["to ", "be ", "or ", "not "]
        assert [chunk.id for chunk in chunks] == ["1-1", "1-2", "1-3", "1-4"]
        assert await task.result(timeout=10) == "to be or not "
        assert [c.data async for c in task.chunks(after="1-2")] == ["or ", "not "]


async def test_chunks_that_are_no_text_are_a_list(app: App) -> None:
    @app.task
    async def count(top: int) -> AsyncIterator[int]:
        for number in range(top):
            yield number

    async with app, app.worker():
        assert await (await count.enqueue(4)).result(timeout=10) == [0, 1, 2, 3]


async def test_many_readers_each_get_every_chunk_while_it_is_made(app: App) -> None:
    go = asyncio.Event()

    @app.task
    async def chat(words: int) -> AsyncIterator[str]:
        for number in range(words):
            yield f"{number} "
            if number == 10:
                await go.wait()

    async with app, app.worker():
        task = await chat.enqueue(2000)

        async def read(after: str | None) -> list[str]:
            seen = []
            async for chunk in task.chunks(after):
                seen.append(chunk.id)
                if chunk.id == "1-11":
                    go.set()
            return seen

        every = [f"1-{number}" for number in range(1, 2001)]
        assert await asyncio.gather(read(None), read(None), read("1-5")) == [
            every,
            every,
            every[5:],
        ]


async def test_progress_is_told_between_chunks_of_any_function(app: App) -> None:
    @app.task
    async def work() -> int:
        await current().progress(0.5, "half")
        return 1

    async with app, app.worker():
        task = await work.enqueue()
        seen = [chunk async for chunk in task.chunks()]

        assert seen == [Chunk("1-1", "progress", {"done": 0.5, "message": "half"})]


async def test_events_tell_the_states_and_end_with_the_outcome(app: App) -> None:
    let_go = asyncio.Event()

    @app.task
    async def work() -> int:
        await let_go.wait()
        return 1

    async with app, app.worker(announce_after=0.001):
        task = await work.enqueue()
        states = []
        async for news in task.events():
            assert not isinstance(news, Chunk)
            states.append(news.status)
            if news.status is TaskState.RUNNING:
                let_go.set()

        assert states[-2:] == [TaskState.RUNNING, TaskState.SUCCEEDED]
        assert (await task.status()).attempts == 1


async def test_a_result_can_be_awaited_before_between_and_after(app: App) -> None:
    @app.task
    async def work(number: int) -> int:
        return number

    async with app:
        task = await work.enqueue(5)
        with pytest.raises(ResultTimeout):
            await task.result(timeout=0.05)
        waiting = [asyncio.create_task(task.result(timeout=10)) for _ in range(20)]
        async with app.worker():
            assert await asyncio.gather(*waiting) == [5] * 20
            assert await app.get_task(task.id).result(timeout=1) == 5


async def test_what_is_not_there_is_not_found(app: App) -> None:
    @app.task(queue="known")
    async def work() -> None: ...

    async with app:
        with pytest.raises(TaskNotFound):
            await app.get_task("known-01M85AGEG4ARDJWHXBW4SW014M").result(timeout=5)
        with pytest.raises(TaskNotFound):
            app.get_task("unknown-01M85AGEG4ARDJWHXBW4SW014M")


async def test_bad_arguments_never_reach_the_server(app: App) -> None:
    @app.task
    async def work(text: str) -> None: ...

    async with app:
        with pytest.raises(InvalidArguments):
            await work.enqueue()  # type: ignore[call-arg]
        with pytest.raises(PayloadTooLarge):
            await work.enqueue("x" * 1_000_001)
        with pytest.raises(InvalidArguments):
            await work.enqueue(object())  # type: ignore[arg-type]
        assert (await app.queues())[0].depth == 0


async def test_a_result_without_json_form_is_dead_at_once(app: App) -> None:
    @app.task(attempts=5)
    async def work() -> object:
        return object()

    async with app, app.worker():
        with pytest.raises(TaskDead, match="no JSON form") as caught:
            await (await work.enqueue()).result(timeout=10)
        assert caught.value.attempts == 1


async def test_enqueue_works_from_threads_without_a_loop(app: App) -> None:
    @app.task
    async def work(number: int) -> int:
        return number

    async with app, app.worker():
        tasks = await asyncio.gather(
            *(asyncio.to_thread(work.enqueue_sync, number) for number in range(20))
        )
        results = await asyncio.gather(*(task.result(timeout=10) for task in tasks))
        assert sorted(results) == list(range(20))


async def test_urgent_lanes_go_first_and_none_starves(app: App) -> None:
    order: list[str] = []

    @app.task
    async def work(lane: str) -> None:
        order.append(lane)

    async with app:
        for lane in ("low", "normal", "high"):
            await work.options(priority=lane).enqueue_many([(lane,)] * 60)
        tail = await work.options(priority="low").enqueue("last")
        async with app.worker(concurrency=1):
            await tail.result(timeout=30)

    first_half = order[: len(order) // 2]
    assert first_half.count("high") > first_half.count("normal") > first_half.count("low") >= 1
    assert order.index("low") < len(order) - 1 - order[::-1].index("high")


async def test_concurrency_is_used_and_never_exceeded(app: App) -> None:
    app.queue("gpu", concurrency=3)
    three = asyncio.Barrier(3)
    running = 0
    most = 0

    @app.task(queue="gpu")
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await three.wait()
        running -= 1

    async with app, app.worker(concurrency=100):
        tasks = []
        for lane in ("low", "normal", "high"):
            tasks += await work.options(priority=lane).enqueue_many([()] * 40)
        await asyncio.gather(*(task.result(timeout=30) for task in tasks))

    assert most == 3
