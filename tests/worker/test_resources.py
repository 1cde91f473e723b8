"""Resources: made before a worker claims, read by its functions, closed when the last has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.eventually import eventually

from castwork import App, AppSettings, TaskState
from castwork.model.errors import DefinitionError, NotOpen


@pytest.fixture
def steps() -> list[str]:
    return []


async def test_each_kind_is_made_in_order_and_closed_in_reverse(app: App, steps: list[str]) -> None:
    main = threading.get_ident()

    @app.resource
    async def pool() -> AsyncIterator[str]:
        async with asyncio.timeout(30):  # entered and left by one asyncio task
            steps.append("pool")
            yield "pool"
            steps.append("/pool")

    @app.resource
    def model() -> Iterator[str]:
        steps.append(f"model on {pool.value} {threading.get_ident() == main}")
        yield "model"
        steps.append("/model")

    @app.resource
    async def client() -> str:
        return "client"

    @app.resource
    def table() -> dict[str, int]:
        return {"in a thread": threading.get_ident() == main}

    @app.on_worker_start
    async def warm() -> None:
        steps.append(f"hook {model.value}")

    @app.task
    async def use() -> list[Any]:
        return [pool.value, model.value, client.value, table.value]

    @app.task
    def use_in_a_thread() -> str:
        return model.value

    with pytest.raises(NotOpen, match="resource 'pool' is there in workers only"):
        _ = pool.value
    async with app:
        for _ in range(2):
            async with app.worker():
                assert await (await use.enqueue()).result(timeout=10) == [
                    *("pool", "model", "client", {"in a thread": False})
                ]
                assert await (await use_in_a_thread.enqueue()).result(timeout=10) == "model"
            with pytest.raises(NotOpen):
                _ = model.value
    assert steps == ["pool", "model on pool False", "hook model", "/model", "/pool"] * 2


async def test_workers_of_a_process_share_it_and_the_last_closes_it(
    app: App, steps: list[str]
) -> None:
    @app.resource
    async def model() -> AsyncIterator[int]:
        steps.append("made")
        yield 1
        steps.append("closed")

    @app.task
    async def use() -> int:
        return model.value

    async with app:
        async with app.worker():
            async with app.worker():
                pass
            assert await (await use.enqueue()).result(timeout=10) == 1
        assert steps == ["made", "closed"]


async def test_only_workers_of_its_queues_make_it(app: App, steps: list[str]) -> None:
    gpu = app.queue("gpu")

    @app.resource(queues=[gpu])
    async def model() -> str:
        steps.append("made")
        return "model"

    @app.task(queue=gpu)
    async def infer() -> str:
        return model.value

    @app.task(queue="cpu")
    async def other() -> None:
        _ = model.value

    async with app:
        async with app.worker(["cpu"]):
            status = await (await other.enqueue()).wait(timeout=10)
            assert status.error is not None
            assert "workers of gpu only" in status.error.message
        assert steps == []
        async with app.worker([gpu]):
            assert await (await infer.enqueue()).result(timeout=10) == "model"


async def test_a_resource_that_raises_ends_the_worker_before_it_claims(
    app: App, steps: list[str]
) -> None:
    @app.resource
    async def first() -> AsyncIterator[int]:
        yield 1
        steps.append("closed")

    @app.resource
    def broken() -> Iterator[int]:
        raise OSError("no such file")
        yield 1

    @app.task
    async def work() -> None: ...

    async with app:
        task = await work.enqueue()
        with pytest.raises(OSError, match="no such file"):
            async with app.worker():
                pass
        assert (await task.status()).status is TaskState.QUEUED
    assert steps == ["closed"]


@pytest.mark.parametrize("times", [0, 2])
async def test_a_resource_yields_once(
    app: App, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    @app.resource
    async def model() -> AsyncIterator[int]:
        for number in range(times):
            yield number

    @app.task
    async def work() -> None: ...

    async with app:
        if times == 0:
            with pytest.raises(DefinitionError, match="has yielded nothing"):
                async with app.worker():
                    pass
        else:
            async with app.worker():
                pass
            assert "has yielded twice" in caplog.text


async def test_a_stop_does_not_wait_for_a_resource_that_is_being_made(
    app: App, steps: list[str]
) -> None:
    @app.resource
    async def first() -> AsyncIterator[int]:
        yield 1
        steps.append("closed")

    @app.resource
    async def slow() -> int:
        steps.append("begun")
        await asyncio.Event().wait()
        return 1

    @app.task
    async def work() -> None: ...

    async with app:
        worker = app.worker()
        running = asyncio.create_task(worker.run())
        await eventually(lambda: steps == ["begun"])
        worker.stop()
        await asyncio.wait_for(running, 10)
    assert steps == ["begun", "closed"]


async def test_a_test_puts_something_else_in_its_place(app: App, steps: list[str]) -> None:
    @app.resource
    async def model() -> str:
        steps.append("made")
        return "real"

    @app.task
    async def use() -> str:
        return model.value

    with model.override("fake"):
        assert await use() == "fake"
        async with app, app.worker():
            assert await (await use.enqueue()).result(timeout=10) == "fake"
    assert steps == []
    with pytest.raises(NotOpen):
        _ = model.value


async def test_declared_again_it_replaces_what_it_was(app: App, steps: list[str]) -> None:
    for number in range(2):

        @app.resource
        async def model(number: int = number) -> int:
            steps.append(f"made {number}")
            return number

    @app.task
    async def use() -> int:
        return model.value

    async with app, app.worker():
        assert await (await use.enqueue()).result(timeout=10) == 1
    assert steps == ["made 1"]


def test_each_event_loop_makes_it_anew(server_url: str, namespace: str) -> None:
    app = App(server_url, settings=AppSettings(namespace=namespace))
    made: list[int] = []

    @app.resource
    async def model() -> int:
        await asyncio.sleep(0.01)
        made.append(1)
        return 1

    @app.task
    async def work() -> None: ...

    async def two_workers() -> None:
        async with app:
            workers = [app.worker(), app.worker()]
            running = [asyncio.create_task(worker.run()) for worker in workers]
            await asyncio.gather(*(worker.started.wait() for worker in workers))
            for worker in workers:
                worker.stop()
            await asyncio.gather(*running)

    for _ in range(2):
        asyncio.run(two_workers())
    assert len(made) == 2


async def test_what_is_being_made_as_the_worker_stops_is_left_before_it_ends(app: App) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    @app.resource
    async def model() -> int:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):  # as closing a connection takes some turns of the loop
                await asyncio.sleep(0)
            left.set()
        return 1

    @app.task
    async def work() -> None: ...

    worker = app.worker()
    running = asyncio.create_task(worker.run())
    await begun.wait()
    worker.stop()
    await running
    assert left.is_set()
