"""Tries: each attempt that failed is kept, and the caller gets the worker's traceback."""

from __future__ import annotations

import traceback

import pytest
from tests.eventually import eventually

from castwork import (
    App,
    Backoff,
    RemoteTraceback,
    Retry,
    Task,
    TaskDead,
    TaskState,
    TaskStatus,
    current,
)

NOW = Backoff(base=0.01)


async def parked(task: Task[None]) -> TaskStatus | None:
    status = await task.status()
    return status if status.status is TaskState.SCHEDULED else None


async def test_each_attempt_is_told_with_its_worker_times_and_error(app: App) -> None:
    @app.task(attempts=3, backoff=NOW)
    async def flaky(fails: int) -> int:
        if current().attempt <= fails:
            raise ValueError(f"no {current().attempt}")
        return 1

    async with app.worker() as worker:
        good, bad = await flaky.enqueue(2), await flaky.enqueue(3)
        assert await good.result(timeout=20) == 1
        with pytest.raises(TaskDead):
            await bad.result(timeout=20)
        for task, last in ((good, None), (bad, "no 3")):
            status = await task.status()
            assert [one.number for one in status.tries] == [1, 2, 3]
            messages = [one.error and one.error.message for one in status.tries]
            assert messages == ["no 1", "no 2", last]
            assert {one.worker for one in status.tries} == {worker.id}
            for one in status.tries:
                assert one.started_at is not None
                assert one.finished_at is not None
                assert one.started_at <= one.finished_at
            assert "flaky" in (status.tries[0].error.traceback if status.tries[0].error else "")


async def test_a_task_that_waits_for_its_retry_tells_why(app: App) -> None:
    @app.task
    async def later() -> None:
        raise Retry(after=1000)

    async with app.worker() as worker:
        task = await later.enqueue()
        status = await eventually(lambda: parked(task))
        assert [(one.number, one.worker) for one in status.tries] == [(1, worker.id)]
        await task.cancel()
        assert len((await task.status()).tries) == 1


async def test_a_plain_task_has_one_try(app: App) -> None:
    @app.task
    async def work() -> None: ...

    async with app.worker():
        task = await work.enqueue()
        await task.result(timeout=20)
        [only] = (await task.status()).tries
        assert (only.number, only.error) == (1, None)


async def test_the_callers_error_carries_the_workers_traceback(app: App) -> None:
    @app.task(attempts=1)
    async def fails() -> None:
        raise ValueError("deep inside")

    async with app.worker():
        task = await fails.enqueue()
        with pytest.raises(TaskDead) as caught:
            await task.result(timeout=20)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "deep inside" in cause.text
    assert "test_tries.py" in "".join(traceback.format_exception(caught.value))
