"""Tasks by their ids: from any process that has the id, and from none that guesses."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AppSettings, Task, TaskFunction, TaskState
from castwork.model.errors import TaskNotFound
from castwork.model.ids import new_digits
from castwork.model.record import Record

Work = TaskFunction[[int], int]


@pytest.fixture
def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def work(app: App, gate: asyncio.Event) -> Work:
    @app.task(queue="q")
    async def work(number: int) -> int:
        await gate.wait()
        return number

    return work


@pytest.fixture
async def other(server_url: str, namespace: str) -> AsyncIterator[App]:
    """The app of another process, which declares the same."""
    made = App(server_url, settings=AppSettings(namespace=namespace))

    @made.task(queue="q")
    async def work(number: int) -> int:
        return number

    yield made
    await made.close()


@pytest.fixture
def dump(plain: redis.Redis, namespace: str) -> Callable[[], dict[bytes, Any]]:
    """All that the server holds of this test."""

    def read() -> dict[bytes, Any]:
        return {key: plain.dump(key) for key in plain.keys(f"*{namespace}:*")}

    return read


# -- known ----------------------------------------------------------------------------------


async def test_other_process_waits_for_tasks_of_every_kind_by_their_ids(
    app: App, other: App, work: Work, gate: asyncio.Event
) -> None:
    async with app, other:
        made = [
            await work.enqueue(1),
            *await work.enqueue_many([2, 3]),
            await work.options(key="k").enqueue(4),
            await work.options(id="mine").enqueue(5),
            await work.options(delay=0.01).enqueue(6),
            await work.options(priority="low", owner="eve").enqueue(7),
        ]
        there = [other.get_task(task.id) for task in made]
        waiting = [asyncio.create_task(task.result(timeout=20)) for task in there]
        ends = [asyncio.create_task(task.wait(timeout=20)) for task in there]
        await asyncio.sleep(0)
        async with app.worker(scheduler_interval=0.02):
            gate.set()
            assert await asyncio.gather(*waiting) == list(range(1, 8))
        assert {end.status for end in await asyncio.gather(*ends)} == {TaskState.SUCCEEDED}
        assert [await task.result(timeout=5) for task in there] == list(range(1, 8))


async def test_other_process_cancels_what_waits(app: App, other: App, work: Work) -> None:
    async with app, other:
        task = await work.enqueue(1)
        assert await other.get_task(task.id).cancel()
        assert (await task.wait(timeout=5)).status is TaskState.CANCELLED
        assert not (await other.get_task(task.id).status()).attempts


# -- guessed --------------------------------------------------------------------------------


def guesses(task: Task[Any]) -> list[str]:
    """The right place with wrong random digits, wrong producers, and places beside it."""
    head, nonce = task.id[:-14], task.id[-14:]
    return [
        head + nonce[:6] + new_digits(),
        head + new_digits()[:6] + nonce[6:],
        head[:-3] + "H" + head[-2:] + nonce,
        head[:-3] + "D" + head[-2:] + nonce,
        head[:-4] + ("1" if head[-4] != "1" else "2") + head[-3:] + nonce,
        task.id.lower(),
        task.id[:-1],
    ]


async def assert_unknown(app: App, task_id: str) -> None:
    try:
        task = app.get_task(task_id)
    except TaskNotFound:  # no queue here has such ids
        return
    with pytest.raises(TaskNotFound):
        await task.status()
    with pytest.raises(TaskNotFound):
        await task.result(timeout=5)
    with pytest.raises(TaskNotFound):
        await task.wait(timeout=5)
    with pytest.raises(TaskNotFound):
        await task.cancel(timeout=5)
    with pytest.raises(TaskNotFound):
        _ = [chunk async for chunk in task.chunks()]


async def test_guessed_id_of_a_task_that_waits_names_no_task(
    app: App, work: Work, dump: Callable[[], dict[bytes, Any]]
) -> None:
    async with app:
        task = await work.enqueue(1)
        before = dump()
        for guess in guesses(task):
            await assert_unknown(app, guess)
            # The server looks again, whatever the caller believes.
            known = Record(TaskState.QUEUED)
            assert await work.store.records.cancel(guess, known) is None
        assert dump() == before
        assert (await task.status()).status is TaskState.QUEUED


async def test_guessed_id_of_a_task_that_runs_names_no_task(
    app: App, work: Work, gate: asyncio.Event
) -> None:
    async with app, app.worker(announce_after=0.001):
        task = await work.enqueue(1)
        async for news in task.events():
            if isinstance(news, Record) and news.status is TaskState.RUNNING:
                break
        for guess in guesses(task):
            await assert_unknown(app, guess)
            await work.store.records.cancel(guess, Record(TaskState.QUEUED))
        gate.set()
        assert await task.result(timeout=10) == 1


async def test_guessed_id_of_a_task_that_has_ended_names_no_task(
    app: App, work: Work, gate: asyncio.Event, dump: Callable[[], dict[bytes, Any]]
) -> None:
    gate.set()
    async with app:
        async with app.worker():
            task = await work.enqueue(1)
            await task.result(timeout=10)
        before = dump()
        for guess in guesses(task):
            await assert_unknown(app, guess)
        assert dump() == before


@pytest.mark.parametrize("options", [{"id": "mine"}, {"key": "k"}, {"delay": 60.0}])
async def test_guessed_id_of_a_named_task_names_no_task(
    app: App, work: Work, dump: Callable[[], dict[bytes, Any]], options: Any
) -> None:
    async with app:
        task = await work.options(**options).enqueue(1)
        before = dump()
        for guess in (task.id[:-3] + new_digits()[:3], f"{task.id}x", "q:other"):
            await assert_unknown(app, guess)
        assert dump() == before
        assert await task.cancel()


# -- what they were called with ---------------------------------------------------------------


async def test_arguments_are_known_until_the_task_has_ended(
    app: App, work: Work, gate: asyncio.Event
) -> None:
    async with app:
        tasks = [
            await work.enqueue(1),
            await work.options(id="mine").enqueue(1),
            await work.options(delay=60).enqueue(1),
        ]
        for task in tasks:
            assert await task.arguments() == {"number": 1}
        async with app.worker():
            await eventually(lambda: _is(tasks[0], TaskState.RUNNING))
            assert await tasks[0].arguments() == {"number": 1}
            gate.set()
            await tasks[0].result(timeout=10)
        assert await tasks[0].arguments() is None
        assert await app.get_task("q:nothing").arguments() is None


async def test_arguments_of_a_dead_task_and_of_an_adopted_entry_are_known(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    @app.task(queue="q", attempts=1)
    async def fail(number: int) -> None:
        raise ValueError

    @app.task(stream=f"{namespace}:orders", group="billing")
    async def bill(number: int) -> None: ...

    async with app:
        task = await fail.enqueue(7)
        async with app.worker(queues=["q"]):
            await task.wait(timeout=10)
        assert await task.arguments() == {"number": 7}
        entry = plain.xadd(f"{namespace}:orders", {"number": "8"}).decode()
        adopted = app.get_task(f"{bill.queue.id_prefix}:{entry}")
        assert await adopted.arguments() == {"number": "8"}


async def test_who_guesses_an_id_does_not_see_the_arguments(app: App, work: Work) -> None:
    async with app:
        task = await work.enqueue(1)
        guessed = task.id[:-8] + new_digits()
        assert await app.get_task(guessed).arguments() is None


async def _is(task: Task[int], state: TaskState) -> bool:
    return (await task.status()).status is state


def test_ids_differ_in_digits_drawn_at_random() -> None:
    drawn = [new_digits() for _ in range(2000)]
    assert len(set(drawn)) == 2000
    for position in range(len(drawn[0])):
        assert len({one[position] for one in drawn}) > 25, "each digit takes all values"
    following = {int(b, 32) - int(a, 32) for a, b in itertools.pairwise(drawn)}
    assert len(following) > 1990, "none follows from the one before"
