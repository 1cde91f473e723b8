"""Waiting for outcomes: one look, tasks that are gone, cancels that nobody waits for."""

from __future__ import annotations

import asyncio

import pytest
import redis
from tests.eventually import eventually

from castwork import App, TaskState
from castwork.model.errors import ResultTimeout, TaskNotFound


async def test_no_time_is_enough_for_an_outcome_that_is_there(app: App) -> None:
    @app.task
    async def work() -> int:
        return 7

    async with app:
        task = await work.enqueue()
        with pytest.raises(ResultTimeout):
            await task.result(timeout=0)
        async with app.worker():
            await task.result(timeout=10)
        assert await task.result(timeout=0) == 7
        assert (await task.wait(timeout=0)).status is TaskState.SUCCEEDED


async def test_a_cancel_without_waiting_is_sent(app: App) -> None:
    begun = asyncio.Event()

    @app.task
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with app, app.worker():
        task = await hang.enqueue()
        await begun.wait()
        assert await task.cancel(timeout=0) is False, "it has not let go yet"
        assert (await task.wait(timeout=10)).status is TaskState.CANCELLED
        waiting = await hang.options(delay=60).enqueue()
        assert await waiting.cancel(timeout=0) is True


@pytest.mark.parametrize("delay", [0, 60])
async def test_waiting_for_a_task_whose_keys_are_deleted_ends(
    app: App, plain: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    monkeypatch.setattr("castwork.tasks.waiting._LOOK_AGAIN", 0.05)

    @app.task
    async def work() -> None: ...

    async with app:
        task = await work.options(delay=delay).enqueue()
        waiting = asyncio.ensure_future(task.result(timeout=20))
        await asyncio.sleep(0)
        for key in plain.keys(f"*{namespace}*"):
            plain.delete(key)
        await eventually(waiting.done)
        with pytest.raises(TaskNotFound):
            await waiting
