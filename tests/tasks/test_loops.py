"""One app in several loops, threads and programs: one at a time, or by `enqueue_sync`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from tests.faults.ledger import Ledger

from castwork import App, AppSettings, TaskFunction
from castwork.model.errors import InvalidArguments, NotOpen, QueueFull, TaskNotFound
from castwork.model.queue import Queue

Work = TaskFunction[[int], int]


@pytest.fixture
def loopless(server_url: str, namespace: str) -> Iterator[App]:
    """An app in a test that has no event loop."""
    app = App(server_url, settings=AppSettings(namespace=namespace))
    yield app
    asyncio.run(app.close())


@pytest.fixture
def work(loopless: App) -> Work:
    @loopless.task(queue="q")
    async def work(number: int) -> int:
        return number

    return work


@pytest.fixture
def ledger(plain: redis.Redis, namespace: str) -> Ledger:
    return Ledger(plain, namespace, Queue("q"))


# -- loops ----------------------------------------------------------------------------------


async def run(app: App, work: Work, number: int) -> int:
    async with app, app.worker():
        return await (await work.enqueue(number)).result(timeout=10)


def test_app_opens_again_in_the_loop_that_comes_next(loopless: App, work: Work) -> None:
    for number in range(3):
        assert asyncio.run(run(loopless, work, number)) == number


def test_calls_that_ended_with_their_loop_do_not_hold_up_those_of_the_next(
    loopless: App, work: Work
) -> None:
    async def leave() -> None:
        async with loopless:
            calls = [asyncio.create_task(work.enqueue(number)) for number in range(10)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    for number in range(3):
        asyncio.run(leave())
        assert asyncio.run(run(loopless, work, number)) == number


def test_second_loop_beside_the_first_is_told_what_to_use(loopless: App, work: Work) -> None:
    async def main() -> None:
        async with loopless:
            with pytest.raises(NotOpen, match="enqueue_sync"):
                await asyncio.to_thread(lambda: asyncio.run(work.enqueue(1)))  # type: ignore[arg-type]
            task = await asyncio.to_thread(work.enqueue_sync, 1)
            assert (await task.status()).status == "queued"

    asyncio.run(main())


# -- threads --------------------------------------------------------------------------------


def test_threads_without_a_loop_enqueue_side_by_side(
    loopless: App, work: Work, ledger: Ledger
) -> None:
    begin = threading.Barrier(8)

    def enqueue(first: int) -> list[str]:
        begin.wait(10)
        return [work.enqueue_sync(number).id for number in range(first, first + 25)]

    with ThreadPoolExecutor(8) as pool:
        ids = [one for ids in pool.map(enqueue, range(0, 200, 25)) for one in ids]

    assert len(set(ids)) == 200
    assert ledger.states(ids) == {"queued": 200}
    assert ledger.entries() == 200


def test_options_of_a_call_hold_in_threads_too(loopless: App, work: Work, ledger: Ledger) -> None:
    mine = work.options(id="mine")
    made = [mine.enqueue_sync(number) for number in (1, 2)]
    assert [(task.id, task.created) for task in made] == [("q:mine", True), ("q:mine", False)]
    delayed = work.options(delay=60.0).enqueue_sync(3)
    assert ledger.states([delayed.id, "q:mine"]) == {"scheduled": 1, "queued": 1}


def test_what_an_enqueue_refuses_is_refused_in_threads_too(loopless: App, work: Work) -> None:
    loopless.queue("small", max_depth=1)

    @loopless.task(queue="small")
    async def other() -> None: ...

    other.enqueue_sync()
    with pytest.raises(QueueFull):
        other.enqueue_sync()
    with pytest.raises(InvalidArguments):
        work.enqueue_sync("three")  # type: ignore[arg-type]


def test_threads_enqueue_again_after_the_app_was_closed(loopless: App, work: Work) -> None:
    first = work.enqueue_sync(1)
    asyncio.run(loopless.close())
    assert work.enqueue_sync(2).id != first.id


def test_apps_share_one_thread(loopless: App, work: Work, server_url: str, namespace: str) -> None:
    other = App(server_url, settings=AppSettings(namespace=namespace))
    work.enqueue_sync(1)
    with pytest.raises(TaskNotFound):
        other.task(queue="q", name="other")(_noop).task(id="none").status_sync()
    threads = [thread.name for thread in threading.enumerate()]
    assert threads.count("castwork-sync") == 1
    asyncio.run(other.close())


async def _noop() -> None: ...
