"""Workers that stop while tasks come in."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger

from castwork import App, AtOnce, TaskState, current
from castwork.model.queue import Queue
from castwork.store.admissions import Admissions


async def test_worker_that_stops_in_mid_flow_keeps_nothing(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    ledger = Ledger(plain, namespace, Queue("work"))
    dice = random.Random(25)
    ids: list[str] = []
    runs: Counter[str] = Counter()

    @app.task(queue="work")
    async def count(number: int, pause: float) -> int:
        runs[current().task_id] += 1
        await asyncio.sleep(pause)
        return number

    ended = asyncio.Event()

    async def flow() -> None:
        while not ended.is_set():
            made = await count.enqueue_many([(n, 0.002) for n in range(3)])
            ids.extend(task.id for task in made)
            await asyncio.sleep(dice.uniform(0, 0.004))

    flowing = asyncio.create_task(flow())
    for _ in range(25):
        worker = app.worker(["work"], lease=30.0, concurrency=2, block=0.1)
        async with worker:
            await asyncio.sleep(dice.uniform(0.01, 0.05))
        assert ledger.pending() == 0
    ended.set()
    await flowing
    async with app.worker(["work"], lease=30.0):
        await eventually(ledger.is_empty)
    await eventually(lambda: ledger.states(ids) == {"succeeded": len(ids)})
    ledger.assert_conserved(ids, succeeded=len(ids))
    assert runs == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_worker_that_is_stopped_during_a_start_hook_leaves_at_once(
    app: App, plain: redis.Redis, kind: str
) -> None:
    begun, waited_for = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @app.task(queue="work")
    async def work() -> None: ...

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    def hang_in_thread() -> None:
        loop.call_soon_threadsafe(begun.set)
        waited_for.wait(30)

    app.on_worker_start(hang if kind == "coroutine" else hang_in_thread)
    worker = app.worker(["work"])
    running = asyncio.create_task(worker.run())
    await begun.wait()
    worker.stop()
    async with asyncio.timeout(10):
        await running
    waited_for.set()

    assert not worker.started.is_set()
    assert await app.workers() == []


async def test_tasks_of_a_loop_that_ends_go_back_uncounted(app: App, plain: redis.Redis) -> None:
    begun = asyncio.Event()

    @app.task(queue="work", attempts=1)
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = await hang.enqueue()
    before = asyncio.all_tasks()
    running = asyncio.create_task(app.worker(["work"]).run())
    await begun.wait()
    for one in asyncio.all_tasks() - before:  # as `asyncio.run` does at its end
        one.cancel()
    with pytest.raises((asyncio.CancelledError, BaseExceptionGroup)):
        await running

    status = await task.status()
    assert (status.status, status.error) == (TaskState.QUEUED, None)


async def test_tasks_that_ask_for_a_place_as_the_loop_ends_go_back(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    @app.task(queue="work", limits=[AtOnce(1)])
    async def work() -> None: ...

    async def hang(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Admissions, "enter", hang)
    await work.enqueue()
    before = asyncio.all_tasks()
    running = asyncio.create_task(app.worker(["work"]).run())
    await begun.wait()
    for one in asyncio.all_tasks() - before:  # as `asyncio.run` does at its end
        one.cancel()
    with pytest.raises((asyncio.CancelledError, BaseExceptionGroup)):
        await running

    info = await app.queue("work").info()
    assert (info.running, sum(info.waiting.values())) == (0, 1)


async def test_a_block_that_is_cancelled_before_it_is_entered_leaves_no_worker_behind(
    app: App,
) -> None:
    begun = asyncio.Event()

    @app.task(queue="work")
    async def work() -> None: ...

    @app.on_worker_start
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def enter() -> None:
        async with app.worker():
            raise AssertionError

    async with app:
        before = asyncio.all_tasks()
        entering = asyncio.create_task(enter())
        await begun.wait()
        entering.cancel()
        await asyncio.wait({entering})
        assert entering.cancelled()
        assert asyncio.all_tasks() == before
