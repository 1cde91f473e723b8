"""What a worker of several queues runs at once, and which queue comes first."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.eventually import eventually

from castwork import App, Task, TaskFunction, TaskState
from castwork.worker.attempt import Attempt
from castwork.worker.bound import Bound
from castwork.worker.workload import Workload

Hold = TaskFunction[[], str]


class Played:
    """Tasks of several queues that hold their slots until they are told to go on."""

    def __init__(self, app: App, names: tuple[str, ...]) -> None:
        self.started: list[str] = []
        self.running = self.most = 0
        self.go_on = asyncio.Semaphore(0)
        self.functions = {name: self._declare(app, name) for name in names}

    def _declare(self, app: App, name: str) -> Hold:
        @app.task(queue=name, name=f"hold-{name}")
        async def hold() -> str:
            self.started.append(name)
            self.running += 1
            self.most = max(self.most, self.running)
            await self.go_on.acquire()
            self.running -= 1
            return name

        return hold

    async def enqueue(self, name: str, count: int) -> list[Task[str]]:
        return await self.functions[name].enqueue_many([()] * count)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_worker_runs_as_many_tasks_of_all_queues_as_it_is_told(
    app: App, concurrency: int
) -> None:
    played = Played(app, ("a", "b", "c"))
    async with app:
        tasks = [task for name in "abc" for task in await played.enqueue(name, 4)]
        async with app.worker(concurrency=concurrency):
            for _ in tasks:
                await eventually(lambda: played.running == min(concurrency, 12 - done(played)))
                played.go_on.release()
            for task in tasks:
                await task.result(timeout=20)
    assert played.most == concurrency
    assert Counter(played.started) == {"a": 4, "b": 4, "c": 4}


def done(played: Played) -> int:
    return len(played.started) - played.running


async def test_queues_that_are_named_are_served_in_their_order(app: App) -> None:
    played = Played(app, ("low", "high"))
    async with app:
        tasks = await played.enqueue("low", 6)
        async with app.worker(["high", "low"], concurrency=1) as worker:
            await eventually(lambda: played.started == ["low"])
            tasks += await played.enqueue("high", 3)
            high = worker._queues[0].workload
            await eventually(lambda: high._awaited and not len(high))
            for number in range(1, 4):
                played.go_on.release()
                await eventually(lambda number=number: len(played.started) == number + 1)
            assert played.started == ["low", "high", "high", "high"]
            for _ in range(6):
                played.go_on.release()
            for task in tasks:
                await task.result(timeout=20)


async def test_without_names_queues_take_turns(app: App) -> None:
    played = Played(app, ("a", "b"))
    async with app:
        tasks = await played.enqueue("a", 8) + await played.enqueue("b", 8)
        async with app.worker(concurrency=1):
            for number in range(8):
                await eventually(lambda number=number: len(played.started) == number + 1)
                played.go_on.release()
            assert min(Counter(played.started[:8]).values()) >= 3
            for _ in range(8):
                played.go_on.release()
            for task in tasks:
                await task.result(timeout=20)


async def test_what_comes_for_an_idle_queue_while_all_slots_are_taken_waits_in_the_queue(
    app: App,
) -> None:
    played = Played(app, ("a", "b"))
    async with app, app.worker(concurrency=1):
        [first] = await played.enqueue("a", 1)
        await eventually(lambda: played.started == ["a"])
        [second] = await played.enqueue("b", 1)
        await asyncio.sleep(0.05)  # long enough for the idle queue's read to bring it
        assert (await second.status()).status is TaskState.QUEUED
        assert (await second.status()).attempts == 0
        played.go_on.release()
        await eventually(lambda: played.started == ["a", "b"])
        played.go_on.release()
        assert [await first.result(timeout=9), await second.result(timeout=9)] == ["a", "b"]
    assert played.most == 1


async def test_a_queue_has_the_smaller_of_its_own_bound_and_the_workers(app: App) -> None:
    app.queue("narrow", concurrency=2)
    app.queue("wide", concurrency=50)
    played = Played(app, ("narrow", "wide"))
    async with app:
        tasks = await played.enqueue("narrow", 5) + await played.enqueue("wide", 9)
        async with app.worker(concurrency=6) as worker:
            await eventually(lambda: played.running == 6)
            assert worker.describe().capacity == 6
            assert Counter(played.started)["narrow"] <= 2
            for _ in tasks:
                played.go_on.release()
            for task in tasks:
                await task.result(timeout=20)
    assert played.most <= 6


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["take", "end", "store"])), max_size=200
    )
)
def test_no_sequence_of_claims_takes_more_slots_than_there_are(
    steps: list[tuple[int, str]],
) -> None:
    async def play() -> None:
        app = App("redis://nowhere")
        for name in "abc":

            @app.task(queue=name, name=name)
            async def work() -> None: ...

        bound = Bound(4, in_order=True)
        loads = [Workload(store, "alice", 3, bound) for store in app.tasks.stores()]
        running: list[list[Attempt]] = [[], [], []]
        ended: list[list[Attempt]] = [[], [], []]
        for number, (which, step) in enumerate(steps):
            load = loads[which]
            if step == "take" and load.free > 0:
                attempt = Attempt(load.origins[1], b"1-%d" % number, 1, [])
                load.add(attempt)
                load.running += 1
                running[which].append(attempt)
            elif step == "end" and running[which]:
                ended[which].append(running[which].pop(0))
                load.running -= 1
                load.freed()
            elif step == "store" and ended[which]:
                load.discard(ended[which].pop(0))
            assert sum(map(len, running)) <= 4
            assert all(len(one) <= 3 for one in running)
            assert bound.free == 4 - sum(one.taken for one in loads)
            assert all(one.is_full or one.free > 0 for one in loads)

    asyncio.run(play())
