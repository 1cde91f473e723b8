"""A task is found by its id alone, wherever the id was made."""

from __future__ import annotations

import asyncio

import pytest
import redis

from castwork import App, AppSettings, TaskState
from castwork.model.errors import ResultTimeout, TaskNotFound


async def test_results_of_tasks_that_other_processes_enqueued_are_had_by_their_ids(
    server_url: str, namespace: str, app: App
) -> None:
    @app.task(queue="q")
    async def double(number: int) -> int:
        return 2 * number

    other = App(server_url, settings=AppSettings(namespace=namespace))

    @other.task(queue="q", name="double")
    async def theirs(number: int) -> int:
        raise AssertionError("it runs elsewhere")

    async with app, other:
        ids = [
            (await double.enqueue(1)).id,
            (await double.options(priority="high").enqueue(2)).id,
            (await double.options(id="mine").enqueue(3)).id,
            (await double.options(key="k").enqueue(4)).id,
            (await double.options(delay=0.01).enqueue(5)).id,
            (await asyncio.to_thread(double.enqueue_sync, 6)).id,
            *[task.id for task in await double.enqueue_many([7, 8])],
        ]
        for task_id in ids:
            with pytest.raises(ResultTimeout):
                await other.get_task(task_id).result(timeout=0.001)
        waiting = [asyncio.create_task(other.get_task(one).wait(timeout=20)) for one in ids]
        async with app.worker(scheduler_interval=0.05):
            statuses = await asyncio.gather(*waiting)
        assert [status.value for status in statuses] == [2, 4, 6, 8, 10, 12, 14, 16]
        assert [status.task_id for status in statuses] == ids
        assert await theirs.task(ids[0]).result(timeout=5) == 2


async def test_the_longest_name_that_fits_an_id_is_meant(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    stream = f"{namespace}:events"

    @app.task(queue=namespace)
    async def short() -> str:
        return "short"

    @app.task(queue=f"{namespace}-long")
    async def long() -> str:
        return "long"

    @app.task(stream=stream, group="billing")
    async def adopt(prompt: str = "") -> str:
        return f"adopted {prompt}"

    async with app, app.worker():
        entry = plain.xadd(stream, {"prompt": "hi"}).decode()
        ids = [
            (await short.enqueue()).id,
            (await short.options(id="events").enqueue()).id,
            (await long.enqueue()).id,
            (await long.options(id="events").enqueue()).id,
            (await adopt.enqueue("us")).id,
            (await adopt.options(id="mine").enqueue("me")).id,
            f"{stream}:billing:{entry}",
        ]
        results = [await app.get_task(task_id).result(timeout=10) for task_id in ids]

    assert results == [
        "short",
        "short",
        "long",
        "long",
        "adopted us",
        "adopted me",
        "adopted hi",
    ]


@pytest.mark.parametrize("task_id", ["", "q", "nobody-1", "nobody:1", "x:q:1", "-q:1", ":1"])
async def test_an_id_that_names_no_queue_is_not_found(app: App, task_id: str) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    with pytest.raises(TaskNotFound):
        app.get_task(task_id)


async def test_a_task_whose_record_is_over_is_not_found(
    app: App, server_url: str, namespace: str, plain: redis.Redis
) -> None:
    @app.task(queue="q")
    async def work() -> int:
        return 1

    other = App(server_url, settings=AppSettings(namespace=namespace))
    other.task(queue="q", name="work")(work.function)
    async with app, other, app.worker():
        task = await work.enqueue()
        status = await task.wait(timeout=10)
        assert (status.status, status.value, status.attempts) == (TaskState.SUCCEEDED, 1, 1)
        plain.delete(*plain.scan_iter(f"*{namespace}:q*:task:*"))
        handle = other.get_task(task.id)
        with pytest.raises(TaskNotFound):
            await handle.status()
        with pytest.raises(TaskNotFound):
            await handle.result(timeout=5)
