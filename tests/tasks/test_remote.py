"""Task functions whose code lives in another program."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from castwork import App, AppSettings, TaskState
from castwork.model.errors import DefinitionError


@pytest.fixture
def other(server_url: str, namespace: str) -> App:
    """The program that has the code."""
    return App(server_url, settings=AppSettings(namespace=namespace))


async def test_tasks_run_where_the_code_is(app: App, other: App) -> None:
    @app.remote(queue="gpu", attempts=2)
    async def draw(prompt: str, size: int = 1) -> str:
        raise NotImplementedError

    @app.remote(queue="gpu")
    async def chat(prompt: str) -> AsyncIterator[str]:
        raise NotImplementedError
        yield ""

    @other.task(queue="gpu", name="draw")
    async def theirs(prompt: str, size: int = 2) -> str:
        return f"{prompt} {size}"

    @other.task(queue="gpu", name="chat")
    async def talk(prompt: str) -> AsyncIterator[str]:
        yield prompt
        yield "!"

    @app.task
    async def local() -> int:
        return 1

    async with app, other, app.worker() as worker, other.worker():
        assert worker.describe().queues == ["default"]
        assert await (await draw.enqueue("a cat")).result(timeout=10) == "a cat 2"
        assert [item async for item in (await chat.enqueue("hi")).items()] == ["hi", "!"]
        assert await (await local.enqueue()).result(timeout=10) == 1
        assert [info.name for info in await app.queues()] == ["gpu", "default"]


async def test_a_worker_of_a_shared_queue_leaves_them_to_others(app: App, other: App) -> None:
    @app.remote(queue="q")
    async def theirs() -> int:
        raise NotImplementedError

    @app.task(queue="q")
    async def ours() -> int:
        return 1

    @other.task(queue="q", name="theirs")
    async def code() -> int:
        return 2

    async with app, other, app.worker(scheduler_interval=0.05):
        task = await theirs.enqueue()
        assert await (await ours.enqueue()).result(timeout=10) == 1
        async with other.worker(scheduler_interval=0.05):
            assert await task.result(timeout=10) == 2
    assert (await task.status()).status is TaskState.SUCCEEDED


def test_what_only_workers_do_is_refused(app: App) -> None:
    with pytest.raises(DefinitionError, match="no option 'backoff'"):
        app.remote(backoff=1)  # type: ignore[call-overload]


async def test_a_worker_with_nothing_but_remote_functions_has_nothing_to_do(app: App) -> None:
    @app.remote(queue="gpu")
    async def draw() -> None:
        raise NotImplementedError

    with pytest.raises(DefinitionError, match="nothing to do"):
        app.worker()
    with pytest.raises(DefinitionError, match="no task function uses queue 'gpu'"):
        app.worker(["gpu"])
