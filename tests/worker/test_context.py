"""What code knows of the end of its own attempt."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from tests.eventually import eventually

from castwork import App, Task, TaskState, current
from castwork.model.errors import NotOpen
from castwork.tasks.context import Context
from castwork.worker.attempt import Ending


async def _end(app: App, task: Task[Any], how: str) -> None:
    if how == "cancel":
        await task.cancel(timeout=0)


@pytest.mark.parametrize("how", ["cancel", "timeout", "stop"])
async def test_a_coroutine_knows_why_it_is_cancelled(app: App, how: str) -> None:
    seen: list[str | None] = []

    @app.task(attempts=1, timeout=0.1 if how == "timeout" else None)
    async def work() -> None:
        seen.append(current().ending)
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(current().ending)

    async with app, app.worker(grace=0.1):
        task = await work.enqueue()
        await eventually(lambda: seen)
        if how != "stop":
            await _end(app, task, how)
            await eventually(lambda: len(seen) == 2)
    assert seen == [None, how]


@pytest.mark.parametrize("how", ["cancel", "timeout", "stop"])
async def test_a_plain_function_that_checks_ends_soon_and_is_no_success(app: App, how: str) -> None:
    begun = threading.Event()
    ended: list[str | None] = []

    @app.task(attempts=1, timeout=0.1 if how == "timeout" else None)
    def work() -> str:
        context = current()
        begun.set()
        try:
            while True:
                context.check()
                time.sleep(0.005)
        except BaseException:
            ended.append(context.ending)
            raise

    async with app:
        async with app.worker(grace=0.1):
            task = await work.enqueue()
            await eventually(begun.is_set)
            if how != "stop":
                await _end(app, task, how)
                await eventually(lambda: ended)
        await eventually(lambda: ended)
        status = (await task.status()).status
    assert ended == [how]
    assert status is {
        "cancel": TaskState.CANCELLED, "timeout": TaskState.DEAD, "stop": TaskState.QUEUED
    }[how]  # fmt: skip


class _Attempt:
    task_id, number, meta, output, home = "q-1", 1, None, None, None

    def __init__(self, ended_by: Ending) -> None:
        self.ended_by = ended_by


def test_who_lost_the_lease_is_told_so() -> None:
    from castwork.model.errors import LeaseLost

    lost = Context(_Attempt(Ending.LOST))  # type: ignore[arg-type]
    assert lost.ending == "lost"
    with pytest.raises(LeaseLost):
        lost.check()
    assert Context(_Attempt(Ending.NOT)).ending is None  # type: ignore[arg-type]
    Context(_Attempt(Ending.NOT)).check()  # type: ignore[arg-type]


async def test_a_plain_function_reports_progress_from_a_loop_of_its_own(app: App) -> None:
    @app.task(attempts=1)
    def work() -> str:
        context = current()
        for number in range(200):
            asyncio.run(context.progress(number / 200))
        return "done"

    async with app, app.worker():
        task = await work.enqueue()
        seen = [chunk.data["done"] async for chunk in task.chunks()]
        assert await task.result(timeout=20) == "done"
    assert seen == [number / 200 for number in range(200)]


async def test_publishing_from_a_loop_of_its_own_is_refused_with_a_word(app: App) -> None:
    news = app.channel("news", dict, history=10)

    @app.task(attempts=1)
    def work() -> str:
        try:
            asyncio.run(news.publish({}))  # type: ignore[arg-type]
        except NotOpen as error:
            return str(error)
        return "published"

    async with app, app.worker():
        assert "event loop" in await (await work.enqueue()).result(timeout=20)
