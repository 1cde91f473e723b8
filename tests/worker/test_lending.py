"""Tasks that wait for other tasks: their slots are lent meanwhile, and taken back first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.eventually import eventually

from castwork import App, StreamFunction, TaskFunction, TaskState


@pytest.fixture
def child(app: App) -> TaskFunction[[int], int]:
    @app.task(queue="q")
    async def child(number: int) -> int:
        return number

    return child


@pytest.fixture
def stream(app: App) -> StreamFunction[[int], list[int], int]:
    @app.task(queue="q")
    async def stream(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    return stream


async def test_a_task_that_waits_for_another_lends_its_only_slot(
    app: App,
    child: TaskFunction[[int], int],
    stream: StreamFunction[[int], list[int], int],
) -> None:
    @app.task(queue="q", attempts=1)
    async def parent() -> int:
        status = await (await child.enqueue(1)).wait()
        assert status.status is TaskState.SUCCEEDED
        total = 0
        async for chunk in (await stream.enqueue(4)).chunks():
            total += chunk.data
        return total + sum(
            await asyncio.gather(*[(await child.enqueue(n)).result() for n in (10, 20, 30)])
        )

    async with app, app.worker(concurrency=1):
        assert await (await parent.enqueue()).result(timeout=20) == 66


@pytest.mark.parametrize("queue", ["q", "other"])
async def test_tasks_wait_for_each_other_many_levels_deep(app: App, queue: str) -> None:
    @app.task(queue=queue, name="second", attempts=1)
    async def second(depth: int) -> int:
        return 1 + (await (await first.enqueue(depth - 1)).result() if depth else 0)

    @app.task(queue="q", name="first", attempts=1)
    async def first(depth: int) -> int:
        return 1 + (await (await second.enqueue(depth - 1)).result() if depth else 0)

    async with app, app.worker(concurrency=1):
        assert await (await first.enqueue(12)).result(timeout=20) == 13


async def test_a_slot_is_taken_back_before_the_task_goes_on(
    app: App, child: TaskFunction[[int], int]
) -> None:
    inside: list[str] = []
    most = 0

    def enter(name: str) -> None:
        nonlocal most
        inside.append(name)
        most = max(most, len(inside))

    @app.task(queue="q")
    async def work() -> None:
        enter("work")
        await asyncio.sleep(0.01)
        inside.remove("work")

    @app.task(queue="q", attempts=1)
    async def parent() -> None:
        enter("parent")
        task = await child.enqueue(1)
        inside.remove("parent")
        await task.result()
        enter("parent")
        await asyncio.sleep(0.01)
        inside.remove("parent")

    async with app:
        tasks = [await parent.enqueue() for _ in range(5)]
        tasks += await work.enqueue_many([()] * 20)
        async with app.worker(concurrency=1):
            for task in tasks:
                await task.result(timeout=20)
    assert most == 1


async def test_a_task_that_is_ended_while_it_waits_leaves_no_slot_taken_or_free(app: App) -> None:
    go_on = asyncio.Event()

    @app.task(queue="q")
    async def hold() -> None:
        await go_on.wait()

    @app.task(queue="q", attempts=1)
    async def cancelled() -> None:
        await (await hold.enqueue()).result()

    @app.task(queue="q", attempts=1, timeout=0.05)
    async def late() -> None:
        await (await hold.enqueue()).result()

    @app.task(queue="q", attempts=1)
    async def careless() -> str:
        held = asyncio.ensure_future((await hold.enqueue()).result())
        await asyncio.sleep(0.01)
        background.append(held)
        return "not waited for"

    background: list[asyncio.Future[None]] = []
    async with app, app.worker(concurrency=4) as worker:
        [queue] = worker._queues
        task = await cancelled.enqueue()
        await eventually(lambda: len(queue.workload.lending.lenders) == 1)
        assert await task.cancel()
        assert (await (await late.enqueue()).wait(timeout=10)).status is TaskState.DEAD
        assert await (await careless.enqueue()).result(timeout=10) == "not waited for"
        go_on.set()
        await asyncio.gather(*background)
        await eventually(lambda: (queue.workload.running, len(queue.workload)) == (0, 0))
        assert queue.workload.free == 4
        assert not queue.workload.lending.lenders
        assert not queue.workload.lending.resuming


async def test_a_wait_outside_of_tasks_lends_nothing(
    app: App, child: TaskFunction[[int], int]
) -> None:
    async with app, app.worker(concurrency=1) as worker:
        await (await child.enqueue(1)).result(timeout=10)
        assert not worker._queues[0].workload.lending.lenders


async def test_more_tasks_than_slots_may_wait_for_others_at_once(
    app: App,
    child: TaskFunction[[int], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("castwork.worker.lending._MANY", 100)

    @app.task(queue="q", attempts=1)
    async def parent(number: int) -> int:
        return await (await child.enqueue(number)).result()

    async with app:
        tasks = await parent.enqueue_many(range(250))
        async with app.worker(concurrency=2):
            assert [await task.result(timeout=30) for task in tasks] == list(range(250))
    said = [r.getMessage() for r in caplog.records if "wait for other tasks" in r.getMessage()]
    assert len(said) == 2, "at 100, and at 200"


async def test_a_wait_that_the_code_itself_gives_up_takes_a_slot_back_first(app: App) -> None:
    at_work = most = 0
    go_on = asyncio.Event()

    @app.task(queue="slow")
    async def never() -> None:
        await go_on.wait()

    @app.task(queue="q", attempts=1)
    async def parent(number: int) -> None:
        nonlocal at_work, most
        task = await never.enqueue()
        with pytest.raises(TimeoutError):
            if number % 2:
                await task.result(timeout=0.1)
            else:
                async with asyncio.timeout(0.1):
                    await task.result()
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.02)
        at_work -= 1

    async with app:
        tasks = await parent.enqueue_many(range(12))
        async with app.worker(["q"], concurrency=2):
            for task in tasks:
                await task.result(timeout=20)
        assert most == 2
        go_on.set()
