"""Why a task was cancelled: told to the function, and to who waits."""

from __future__ import annotations

import asyncio

import pytest
from tests.eventually import eventually

from castwork import App, TaskCancelled, current
from castwork.model.errors import DefinitionError, InvalidArguments


@pytest.mark.parametrize("reason", ["the stop button", "two\nlines ünd mehr", ""])
async def test_a_running_task_and_who_waits_for_it_are_told(app: App, reason: str) -> None:
    seen: list[str] = []
    begun = asyncio.Event()

    @app.task(queue="q")
    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(current().cancel_reason)

    async with app, app.worker():
        task = await work.enqueue()
        await begun.wait()
        assert await task.cancel(reason)
        with pytest.raises(TaskCancelled) as caught:
            await task.result(timeout=10)
        await eventually(lambda: seen == [reason])
    assert reason in str(caught.value)


async def test_who_waits_for_a_task_that_waits_is_told(app: App) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    async with app:
        task = await work.options(delay=60).enqueue()
        assert await asyncio.to_thread(task.cancel_sync, "too late")
        with pytest.raises(TaskCancelled, match="too late"):
            await task.result(timeout=10)
        with pytest.raises(InvalidArguments, match="say timeout= by its name"):
            await task.cancel(5)  # type: ignore[arg-type]


async def test_tasks_of_a_former_name_run(app: App) -> None:
    @app.task(queue="q", name="infer_v1")
    async def old() -> int:
        return 1

    async with app:
        task = await old.enqueue()
    new = App(app.url, settings=app.settings)

    @new.task(queue="q", old_names=["infer_v1"])
    async def infer() -> int:
        return 2

    with pytest.raises(DefinitionError, match="an old name"):
        new.task(queue="q", name="other", old_names=["infer"])(old.function)
    with pytest.raises(DefinitionError, match="give a list of names"):
        new.task(old_names="infer")(old.function)
    async with new, new.worker():
        assert await new.get_task(task.id).result(timeout=10) == 2
