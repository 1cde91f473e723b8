"""The twins ending in `_sync`: the same objects for threads, plain functions and scripts."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from castwork import App, Chunk, Delivered, TaskState, current
from castwork.model.errors import InvalidArguments, ResultTimeout, TaskDead, WouldBlock
from castwork.tasks.call import Call
from castwork.tasks.chain import Proceed


async def test_a_thread_does_all_that_a_coroutine_does(app: App) -> None:
    @app.task
    async def double(number: int) -> int:
        return 2 * number

    @app.task(attempts=1)
    async def fail() -> None:
        raise ValueError("no")

    @app.task
    async def hold() -> None:
        await asyncio.Event().wait()

    @app.task
    async def tell() -> AsyncIterator[str]:
        for word in ("one", "two"):
            yield word

    def in_a_thread() -> None:
        assert double.enqueue_sync(4).result_sync(timeout=10) == 8
        failed = fail.enqueue_sync()
        with pytest.raises(TaskDead, match="no"):
            failed.result_sync(timeout=10)
        assert failed.wait_sync(timeout=10).status is TaskState.DEAD
        told = tell.enqueue_sync()
        assert [chunk.data for chunk in told.chunks_sync()] == ["one", "two"]
        assert [chunk.data for chunk in told.chunks_sync(after="1-1")] == ["two"]
        held = hold.enqueue_sync()
        with pytest.raises(ResultTimeout):
            held.result_sync(timeout=0.05)
        assert held.cancel_sync() is True
        assert held.status_sync().status is TaskState.CANCELLED

    async with app, app.worker():
        await asyncio.to_thread(in_a_thread)


async def test_a_task_of_a_thread_is_awaited_on_a_loop_and_the_other_way(app: App) -> None:
    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app, app.worker():
        task = await asyncio.to_thread(double.enqueue_sync, 3)
        assert await task.result(timeout=10) == 6
        other = await double.enqueue(4)
        assert await asyncio.to_thread(other.result_sync, 10) == 8


async def test_an_event_loop_that_runs_may_be_blocked_by_a_twin(app: App) -> None:
    """As a cell of a notebook does, under which a loop runs."""

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    stopped = threading.Event()

    def work() -> None:
        async def until_stopped() -> None:
            async with worker_app, worker_app.worker():
                await asyncio.to_thread(stopped.wait, 30)

        asyncio.run(until_stopped())

    worker_app = App(app.url, settings=app.settings)
    worker_app.task(name="double")(double.function)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert double.enqueue_sync(5).result_sync(timeout=20) == 10
    finally:
        stopped.set()
        thread.join()
    await app.close()


async def test_a_coroutine_task_is_told_to_await(app: App) -> None:
    news = app.channel("news", int, history=10)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    @app.task
    async def work() -> list[str]:
        task = double.task(current().task_id)
        calls = [
            lambda: double.enqueue_sync(1),
            task.result_sync,
            lambda: next(task.chunks_sync()),
            lambda: news.publish_sync(1),
            lambda: current().progress_sync(0.5),
        ]
        said = []
        for call in calls:
            with pytest.raises(WouldBlock) as caught:
                call()
            said.append(str(caught.value).partition(" ")[0])
        return said

    async with app, app.worker():
        assert await (await work.enqueue()).result(timeout=10) == [
            *("enqueue_sync", "result_sync", "chunks_sync", "publish_sync", "progress_sync")
        ]


async def test_a_plain_function_that_waits_for_a_task_lends_its_slot(app: App) -> None:
    @app.task
    def leaf(number: int) -> int:
        return number

    @app.task
    def parent(depth: int) -> int:
        if depth == 0:
            return leaf.enqueue_sync(1).result_sync(timeout=20)
        return 1 + parent.enqueue_sync(depth - 1).result_sync(timeout=20)

    async with app, app.worker(concurrency=1) as worker:
        assert await (await parent.enqueue(3)).result(timeout=20) == 4
        assert worker.describe().load == 0


async def test_a_plain_function_reports_and_emits(app: App) -> None:
    @app.task
    def work() -> None:
        context = current()
        context.progress_sync(0.5, "half")
        context.emit_sync("source", {"url": "a"})
        with pytest.raises(InvalidArguments, match="no kind of one's own"):
            context.emit_sync("reset", None)

    @app.task
    async def spell() -> AsyncIterator[str]:
        await current().emit("source", {"url": "b"})
        yield "a"

    def heard(chunks: list[Chunk]) -> list[tuple[str, object]]:
        return [(chunk.kind, chunk.data) for chunk in chunks]

    async with app, app.worker():
        task = await work.enqueue()
        assert heard([chunk async for chunk in task.chunks()]) == [
            ("progress", {"done": 0.5, "message": "half"}),
            ("source", {"url": "a"}),
        ]
        await task.result(timeout=10)
        spelled = await spell.enqueue()
        assert heard([chunk async for chunk in spelled.chunks()]) == [
            ("source", {"url": "b"}),
            ("chunk", "a"),
        ]
        assert await spelled.result(timeout=10) == "a"


async def test_threads_publish_set_and_listen(app: App) -> None:
    news = app.channel("news", int, history=10)
    plain = app.channel(f"{app.settings.namespace}-plain", int)
    tone = app.setting("tone", str, default="calm")

    def in_a_thread() -> list[int]:
        first = news.publish_sync(1)
        news.publish_sync(2)
        assert plain.publish_sync(1).subscribers == 0
        tone.set_sync("loud")
        got: list[int] = []
        for item in news.listen_sync(after="0"):
            assert isinstance(item, Delivered)
            got.append(item.value)
            if len(got) == 2:
                break
        assert first.id < news.publish_sync(3).id
        return got

    heard: list[int] = []
    news.subscribe(heard.append)
    async with app:
        assert await asyncio.to_thread(in_a_thread) == [1, 2]
        receipt = await asyncio.to_thread(news.publish_sync, 4)
        assert (await receipt.applied()).complete
        assert heard == [1, 2, 3, 4]
        assert (await (await tone.set("calm")).applied()).complete


name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")


async def test_wrappers_of_an_enqueue_see_the_callers_context(app: App) -> None:
    seen: list[str] = []

    @app.task
    async def work() -> None: ...

    @app.around_enqueue
    async def look(call: Call[Any], proceed: Proceed) -> Any:
        seen.append(name.get())
        return await proceed()

    def in_a_thread() -> None:
        name.set("mine")
        work.enqueue_sync()

    async with app:
        await asyncio.to_thread(in_a_thread)
    assert seen == ["mine"]
