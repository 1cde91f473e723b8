"""A worker on a stream that other programs write and read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App
from castwork.model.errors import TaskCancelled, TaskFailed, TaskNotFound
from castwork.model.ids import process_id
from castwork.model.record import Record, encode_record
from castwork.model.states import TaskState
from castwork.model.task_options import TaskOptions


@pytest.mark.parametrize(
    ("options", "left", "taken"),
    [({}, [200_000, 290_000], [301_000]), ({"foreign_lease": 250}, [200_000], [290_000, 301_000])],
)
async def test_entry_of_a_slow_program_is_taken_after_the_lease_of_foreign_consumers(
    app: App,
    namespace: str,
    plain: redis.Redis,
    options: TaskOptions,
    left: list[int],
    taken: list[int],
) -> None:
    stream, ran = f"{namespace}:events", []

    @app.task(stream=stream, group="g", **options)
    async def work(idle: int) -> None:
        ran.append(idle)

    plain.xgroup_create(stream, "g", "0", mkstream=True)
    for idle in (*left, *taken):
        entry = plain.xadd(stream, {"idle": idle})
        plain.xreadgroup("g", "node-1", {stream: ">"})
        plain.xclaim(stream, "g", "node-1", 0, [entry], idle=idle, justid=True)

    async with app, app.worker(lease=1.0):
        await eventually(lambda: len(ran) >= len(taken), what="what is due is taken")

    assert ran == taken
    held: list[dict[str, Any]] = plain.xpending_range(stream, "g", "-", "+", 10)
    assert [one["consumer"] for one in held] == [b"node-1"] * len(left)


@pytest.mark.parametrize("keeps", [False, True], ids=["deleted", "kept"])
async def test_waiting_entry_is_cancelled_before_any_worker_comes(
    app: App, namespace: str, plain: redis.Redis, keeps: bool
) -> None:
    stream, ran = f"{namespace}:events", []

    @app.task(stream=stream, group="g", keep_entries=keeps)
    async def work(n: int) -> None:
        ran.append(n)

    first, second = (plain.xadd(stream, {"n": n}).decode() for n in (1, 2))
    async with app:
        task = app.get_task(f"{stream}:g:{first}")
        assert (await task.status()).status is TaskState.QUEUED
        assert await task.cancel()
        async with app.worker():
            await app.get_task(f"{stream}:g:{second}").result(timeout=10)
        with pytest.raises(TaskCancelled):
            await task.result(timeout=10)
        with pytest.raises(TaskNotFound):
            await app.get_task(f"{stream}:g:1-1").result(timeout=10)
    assert ran == [2]


async def test_entry_that_is_cancelled_while_the_workers_are_busy_is_dropped_by_them(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    stream, ran = f"{namespace}:events", []
    began, go = asyncio.Event(), asyncio.Event()

    @app.task(stream=stream, group="g", keep_entries=True)
    async def work(n: int) -> None:
        ran.append(n)
        began.set()
        await go.wait()

    async with app, app.worker(concurrency=1):
        first, second, third = (plain.xadd(stream, {"n": n}).decode() for n in (1, 2, 3))
        await asyncio.wait_for(began.wait(), 10)
        cancelled = app.get_task(f"{stream}:g:{second}")
        assert await cancelled.cancel()
        go.set()
        for entry in (first, third):
            await app.get_task(f"{stream}:g:{entry}").result(timeout=10)
        await eventually(lambda: plain.xpending(stream, "g")["pending"] == 0)
        assert (await cancelled.status()).status is TaskState.CANCELLED
        assert (ran, plain.xlen(stream)) == ([1, 3], 3)


async def test_task_ends_when_another_program_acknowledges_what_a_lost_worker_left(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    stream, running = f"{namespace}:events", encode_record(Record(TaskState.RUNNING, "work"))

    @app.task(stream=stream, group="g")
    async def work() -> None: ...

    plain.xgroup_create(stream, "g", "0", mkstream=True)
    entry = plain.xadd(stream, {"n": 1})
    plain.xreadgroup("g", process_id("host"), {stream: ">"})
    task = app.get_task(f"{stream}:g:{entry.decode()}")
    plain.set(work.store.place.keys.record(task.id), running)
    async with app:
        assert (await task.status()).status is TaskState.RUNNING
        plain.xautoclaim(stream, "g", "node-1", 0)
        plain.xack(stream, "g", entry)
        with pytest.raises(TaskFailed, match="another program acknowledged"):
            await task.result(timeout=10)
