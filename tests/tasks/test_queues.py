"""What `app.queue` returns: looking at a queue, holding, emptying and awaiting it."""

from __future__ import annotations

import asyncio

import pytest
import redis
from tests.eventually import eventually

from castwork import App, CoroutineFunction, Queue, ResultTimeout, TaskState

Note = CoroutineFunction[[int], int]


@pytest.fixture
def seen() -> list[int]:
    return []


@pytest.fixture
def note(app: App, seen: list[int]) -> Note:
    @app.task(queue="q")
    async def note(number: int) -> int:
        seen.append(number)
        return number

    return note


async def test_a_paused_queue_takes_tasks_and_begins_none(
    app: App, note: Note, seen: list[int]
) -> None:
    queue = app.queue("q")
    async with app, app.worker(), app.worker():
        await (await note.enqueue(0)).result(timeout=10)
        await queue.pause()
        assert (await queue.info()).paused
        tasks = await note.enqueue_many(range(1, 20))
        other = await note.options(priority="high", delay=0.01).enqueue(20)
        await eventually(lambda: _scheduled_moved(queue))
        with pytest.raises(ResultTimeout):
            await tasks[0].result(timeout=0.3)
        assert seen == [0]

        await queue.resume()
        assert sorted([await task.result(timeout=10) for task in (*tasks, other)]) == [
            *range(1, 21)
        ]
        assert not (await queue.info()).paused


async def _scheduled_moved(queue: Queue) -> bool:
    info = await queue.info()
    return info.scheduled == 0 and info.depth == 20


async def test_a_worker_that_starts_or_reconnects_finds_the_pause(
    app: App, note: Note, seen: list[int], plain: redis.Redis
) -> None:
    queue = app.queue("q")
    async with app:
        await queue.pause()
        task = await note.enqueue(1)
        async with app.worker():
            with pytest.raises(ResultTimeout):
                await task.result(timeout=0.3)
            plain.client_kill_filter(_type="pubsub")
            await queue.resume()
            assert await task.result(timeout=10) == 1


async def test_other_queues_of_the_worker_go_on(app: App, note: Note) -> None:
    @app.task(queue="other")
    async def free() -> int:
        return 1

    queue = app.queue("q")
    async with app, app.worker(concurrency=2):
        await queue.pause()
        held = await note.enqueue_many(range(10))
        for _ in range(5):
            assert await (await free.enqueue()).result(timeout=10) == 1
        await queue.resume()
        assert [await task.result(timeout=10) for task in held] == list(range(10))


async def test_pausing_in_mid_flow_loses_nothing(app: App, note: Note, seen: list[int]) -> None:
    queue = app.queue("q")
    async with app, app.worker(concurrency=5), app.worker(concurrency=5):
        tasks = []
        for number in range(300):
            tasks.append(await note.enqueue(number))
            if number % 30 == 10:
                await queue.pause()
            elif number % 30 == 20:
                await queue.resume()
        await queue.resume()
        assert [await task.result(timeout=20) for task in tasks] == list(range(300))
    assert sorted(seen) == list(range(300))


async def test_purging_cancels_what_waits_and_nothing_else(app: App, note: Note) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @app.task(queue="q")
    async def hold() -> int:
        begun.set()
        await go.wait()
        return 1

    queue = app.queue("q")
    async with app, app.worker(concurrency=1):
        running = await hold.enqueue()
        await asyncio.wait_for(begun.wait(), 10)
        waiting = [
            *await note.enqueue_many(range(600)),
            await note.options(priority="high").enqueue(1),
            await note.options(id="mine").enqueue(1),
            await note.options(delay=60).enqueue(1),
        ]
        assert await queue.purge() == len(waiting)
        statuses = [(await task.wait(timeout=10)).status for task in waiting]
        assert set(statuses) == {TaskState.CANCELLED}
        assert await queue.purge() == 0
        go.set()
        assert await running.result(timeout=10) == 1
        info = await queue.info()
        assert (info.depth, info.scheduled) == (0, 0)


async def test_a_queue_is_awaited_until_it_is_idle(app: App, note: Note, seen: list[int]) -> None:
    queue = app.queue("q")
    async with app:
        await queue.until_idle(timeout=5)
        await note.enqueue_many(range(50))
        await note.options(delay=0.01).enqueue(50)
        await note.options(delay=600).enqueue(51)
        with pytest.raises(ResultTimeout, match="5[01] tasks wait or run after 0.05 s"):
            await queue.until_idle(timeout=0.05)
        async with app.worker(scheduler_interval=0.05):
            await queue.until_idle(timeout=10)
        assert sorted(seen) == list(range(51))
        assert (await queue.info()).scheduled == 1


async def test_what_a_queue_tells_of_itself(app: App, note: Note) -> None:
    queue = app.queue("q", max_depth=50)
    async with app:
        assert await queue.info() == (await app.queues())[0]
        info = await queue.info()
        assert (info.oldest, info.served, info.max_depth) == (None, False, 50)
        await note.enqueue(1)
        await eventually(lambda: _waits(queue))
        async with app.worker():
            await queue.until_idle(timeout=10)
            info = await queue.info()
            assert (info.oldest, info.served) == (None, True)


async def _waits(queue: Queue) -> bool:
    return ((await queue.info()).oldest or 0) > 0


async def test_an_adopted_stream_is_a_queue_like_others(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    stream, got = f"{namespace}:events", []

    @app.task(stream=stream, group="g", queue="intake")
    async def bill(number: int) -> None:
        got.append(number)

    queue = app.queue("intake")
    async with app, app.worker():
        await queue.pause()
        ids = [plain.xadd(stream, {"number": number}) for number in range(5)]
        await eventually(lambda: _depth(queue, 5))
        assert await queue.purge() == 5
        assert got == []
        await queue.resume()
        plain.xadd(stream, {"number": 7})
        await queue.until_idle(timeout=10)
        assert got == [7]
    assert len(ids) == 5


async def _depth(queue: Queue, count: int) -> bool:
    return (await queue.info()).depth == count
