"""What people see of queues and workers."""

from __future__ import annotations

import asyncio
import json

import redis
from tests.eventually import eventually

from castwork import App
from castwork.store.keys import WorkerKeys


async def test_queues_are_seen_in_the_order_in_which_they_were_declared(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    go, began = asyncio.Event(), asyncio.Event()
    app.queue("second", max_depth=50)

    @app.task(queue="first")
    async def hold() -> None:
        began.set()
        await go.wait()

    @app.task(queue="second", attempts=1)
    async def fail() -> None:
        raise ValueError("no")

    @app.task(stream=f"{namespace}:events", keep_entries=True)
    async def adopt(prompt: str) -> None: ...

    news = app.channel("news", int, history=10)

    @news.subscribe(group="billing")
    async def bill(event: int) -> None: ...

    async with app:
        await hold.options(delay=60).enqueue()
        async with app.worker(["first", "second"], concurrency=1):
            await hold.enqueue()
            await asyncio.wait_for(began.wait(), 10)
            await hold.options(priority="low").enqueue_many([()] * 3)
            await (await fail.enqueue()).wait(timeout=10)
            plain.xadd(f"{namespace}:events", {"prompt": "hi"})
            first, second, adopted = await app.queues()
            go.set()

    assert (first.name, first.depth, first.scheduled, first.max_depth) == ("first", 4, 1, 0)
    assert first.waiting["low"] + first.running == 4
    assert first.running >= 1
    assert (second.name, second.depth, second.dead, second.max_depth) == ("second", 0, 1, 50)
    assert adopted.name == f"{namespace}:events"
    assert adopted.waiting["stream"] == 1


async def test_a_worker_tells_what_it_runs_and_is_lost_when_it_falls_silent(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    @app.task(queue="q")
    async def hold() -> None:
        began.set()
        await go.wait()

    async with app, app.worker(heartbeat=0.05, concurrency=7) as worker:
        task = await hold.enqueue()
        await asyncio.wait_for(began.wait(), 10)

        async def seen() -> object:
            [info] = await app.workers()
            return info["running"] and info

        info = await eventually(seen, what="the worker tells of its task")
        assert isinstance(info, dict)
        assert (info["id"], info["queues"], info["capacity"]) == (worker.id, ["q"], 7)
        assert (info["running"][0]["task_id"], info["load"]) == (task.id, 1)
        assert info["lost"] is False
        go.set()
        await task.result(timeout=10)

        keys = WorkerKeys(namespace)
        silent = json.loads(plain.hget(keys.info, worker.id)) | {"id": "silent"}
        plain.hset(keys.info, "silent", json.dumps(silent))
        plain.zadd(keys.register, {"silent": (plain.time()[0] - 20) * 1000})
        workers = {one["id"]: one["lost"] for one in await app.workers()}
        assert workers == {worker.id: False, "silent": True}
    assert [one["id"] for one in await app.workers()] == ["silent"]
