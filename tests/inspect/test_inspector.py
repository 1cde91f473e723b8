"""What people see of queues and workers."""

from __future__ import annotations

import asyncio
import json

import pytest
import redis
from tests.eventually import eventually

from castwork import App
from castwork.model.ids import process_id
from castwork.store.keys import WorkerKeys


async def test_queues_are_seen_in_the_order_in_which_they_were_declared(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    go, began = asyncio.Event(), asyncio.Event()
    app.queue("first", concurrency=1)
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
        async with app.worker(["first", "second"], concurrency=2):
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


@pytest.mark.parametrize("is_told", [True, False], ids=["lag", "no lag"])
async def test_what_a_group_has_done_with_does_not_wait(
    app: App, namespace: str, plain: redis.Redis, is_told: bool
) -> None:
    stream, done = f"{namespace}:events", []

    @app.task(stream=stream, group="g", keep_entries=True)
    async def adopt(n: int) -> None:
        done.append(n)

    async with app:
        async with app.worker():
            for n in range(3):
                plain.xadd(stream, {"n": n})
            await eventually(lambda: len(done) == 3 and not plain.xpending(stream, "g")["pending"])
        [queue] = await app.queues()
        assert (queue.waiting["stream"], queue.running, queue.depth) == (0, 0, 0)
        entries = [plain.xadd(stream, {"n": n}) for n in range(205)]
        plain.xreadgroup("g", "other", {stream: ">"}, count=1)
        if not is_told:  # an entry that was deleted before the group got it hides the lag
            plain.xdel(stream, entries[3])
            assert plain.xinfo_groups(stream)[0]["lag"] is None
        [queue] = await app.queues()
        waiting = 204 if is_told else 203
        assert (queue.waiting["stream"], queue.running, queue.depth) == (waiting, 1, waiting + 1)


async def test_counting_what_waits_in_a_stream_has_a_bound(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    stream = f"{namespace}:events"

    @app.task(stream=stream, group="g")
    async def adopt() -> None: ...

    plain.xgroup_create(stream, "g", "$", mkstream=True)
    with plain.pipeline() as pipe:
        for _ in range(1010):
            pipe.xadd(stream, {"n": 1})
        entries = pipe.execute()
    plain.xdel(stream, entries[1])

    async with app:
        [queue] = await app.queues()
    assert queue.waiting["stream"] == 1000


async def test_other_programs_that_read_an_adopted_stream_are_seen(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    stream = f"{namespace}:events"

    @app.task(stream=stream, group="g")
    async def adopt(n: int) -> None: ...

    async with app:
        assert [queue.foreign for queue in await app.queues()] == [[]]  # there is no group yet
        async with app.worker() as worker:
            await asyncio.wait_for(worker.started.wait(), 10)
        entry = plain.xadd(stream, {"n": 1})
        plain.xreadgroup("g", "node-1", {stream: ">"})
        plain.xclaim(stream, "g", "node-1", 0, [entry], idle=60_000, justid=True)
        plain.xgroup_createconsumer(stream, "g", process_id("host"))
        [queue] = await app.queues()

    assert queue.group == "g"
    [other] = queue.foreign
    assert (other.name, other.pending) == ("node-1", 1)
    assert 0 <= other.idle < 60


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
