"""What a task costs, counted and not timed: commands, round trips, bytes, what stays behind.

The server is the bundled Valkey, which has MSETEX. Bounds are what was measured, with a fifth of
slack at most where replies come together or apart as it happens.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AtOnce, Backoff, Task, current
from castwork.model.states import Priority
from castwork.worker.attempt import Attempt


@pytest.fixture
def look(own_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_url) as client:
        yield client


def declare(url: str) -> App:
    app = App(url)

    @app.task(queue="q")
    async def noop(number: int) -> int:
        return number

    @app.task(queue="stream")
    async def stream(count: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield "token"

    return app


class Counted:
    """Calls of each command between two looks, those of scripts included."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._before = self._read()

    def _read(self) -> Counter[str]:
        stats = self._client.info("commandstats")
        counts = {name.removeprefix("cmdstat_"): int(s["calls"]) for name, s in stats.items()}
        del counts["info"]
        counts["reads"] = int(self._client.info("stats")["total_reads_processed"])
        return Counter(counts)

    def since(self) -> Counter[str]:
        return self._read() - self._before

    def total(self) -> int:
        counts = self.since()
        return counts.total() - counts["reads"]


async def drained(app: App) -> None:
    """Wait until a queue is empty: the last outcome wakes us, nothing is polled."""
    last = await app.tasks.get("noop").enqueue(1)
    await last.result(timeout=30)


async def test_an_enqueue_is_one_script_of_three_commands(own_url: str, look: redis.Redis) -> None:
    async with declare(own_url) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        counted = Counted(look)
        for number in range(100):
            await noop.enqueue(number)
        counts = counted.since()

    del counts["reads"]
    assert counts == {"evalsha": 100, "hget": 100, "xadd": 100, "hset": 100}


@pytest.mark.parametrize(
    "options", [{}, {"priority": "high"}, {"owner": "somebody", "timeout": 5.0}], ids=str
)
async def test_enqueues_of_one_tick_share_scripts(
    own_url: str, look: redis.Redis, options: dict[str, Any]
) -> None:
    async with declare(own_url) as app:
        noop = app.tasks.get("noop").options(**options)
        await noop.enqueue(0)
        counted = Counted(look)
        await asyncio.gather(*(noop.enqueue(number) for number in range(1000)))
        counts = counted.since()

    assert counts.pop("xadd") == 1000
    assert counts.pop("reads") <= 10
    # One goes ahead alone, then groups of 250.
    scripts = counts["evalsha"]
    assert scripts <= 6
    assert counts == {"evalsha": scripts, "hget": scripts, "hset": scripts}


async def test_enqueues_of_any_lane_share_scripts(own_url: str, look: redis.Redis) -> None:
    async with declare(own_url) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        counted = Counted(look)
        lanes = [noop.options(priority=name) for name in ("high", "normal", "low")]
        await asyncio.gather(*(lanes[number % 3].enqueue(number) for number in range(1000)))
        counts = counted.since()

    assert counts["xadd"] == 1000
    assert counts["evalsha"] == counts["hget"] == counts["hset"] <= 6


async def test_enqueues_with_keys_share_scripts(own_url: str, look: redis.Redis) -> None:
    async with declare(own_url) as app:
        noop = app.tasks.get("noop")
        await noop.options(key="first").enqueue(0)
        counted = Counted(look)
        await asyncio.gather(*(noop.options(key=f"k{n}").enqueue(n) for n in range(1000)))
        counts = counted.since()

    scripts = counts["evalsha"]
    assert scripts <= 6
    # The key and the id are looked for, then the task, its place and its key are stored.
    assert counts["get"] == counts["hexists"] == counts["exists"] == 1000
    assert counts["xadd"] == counts["set"] == counts["hset"] - scripts == 1000
    assert counted.total() <= 6 * 1000 + 4 * 6


async def test_bulk_travels_in_groups(own_url: str, look: redis.Redis) -> None:
    async with declare(own_url) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        counted = Counted(look)
        await noop.enqueue_many(range(1000))
        counts = counted.since()

    assert counts["evalsha"] == counts["hget"] == counts["hset"] == 4
    assert counted.total() == 1000 + 3 * 4


@pytest.mark.parametrize("bulk", [True, False])
async def test_a_drained_task_costs_a_fifth_of_a_command(
    own_url: str, look: redis.Redis, bulk: bool
) -> None:
    count = 5000
    async with declare(own_url) as app:
        noop = app.tasks.get("noop")
        if bulk:
            tasks = await noop.enqueue_many(range(count))
        else:
            tasks = await asyncio.gather(*(noop.enqueue(number) for number in range(count)))
        counted = Counted(look)
        async with app.worker(concurrency=100, lease=60.0):
            await asyncio.gather(*(task.result(timeout=30) for task in tasks[-5:]))
            working = counted.since()
        counts, total = counted.since(), counted.total()

    assert working["xpending"] == 0, "nothing was taken from this worker, so nothing is looked at"
    groups = counts["msetex"]
    # Claims bring fifty, and outcomes go out by fifty or a hundred, as replies come.
    assert groups <= count / 50 + 5
    assert counts["publish"] == counts["xack"] == counts["xdel"] == counts["hexists"] == groups
    assert counts["set"] == counts["mset"] == counts["psetex"] == 0, "no record but the final one"
    assert counts["xreadgroup"] <= count / 50 + 15
    assert counts["evalsha"] + counts["eval"] <= groups + 25
    assert counts["reads"] <= count * 0.044
    assert total <= count * 0.22


async def test_tasks_that_pass_a_limit_share_two_scripts_more(
    own_url: str, look: redis.Redis
) -> None:
    count = 1000
    async with App(own_url) as app:

        @app.task(queue="q", limits=[AtOnce(100_000, by="number")])
        async def limited(number: int) -> int:
            return number

        tasks = await limited.enqueue_many(range(count))
        counted = Counted(look)
        async with app.worker(concurrency=100, lease=60.0, scheduler_interval=60.0):
            await asyncio.gather(*(task.result(timeout=30) for task in tasks))
            counts, total = counted.since(), counted.total()

    # Fenced one by one, as a place is given to one attempt; nothing is parked.
    assert counts["xpending"] <= count + 5
    assert counts["xclaim"] == counts["xadd"] == 0
    assert counts["evalsha"] + counts["eval"] <= 6 * count / 50
    assert total <= 14 * count


async def test_a_task_on_an_idle_worker_costs_one_read_and_two_scripts(
    own_url: str, look: redis.Redis
) -> None:
    count = 100
    async with declare(own_url) as app, app.worker():
        noop = app.tasks.get("noop")
        await (await noop.enqueue(0)).result(timeout=30)
        counted = Counted(look)
        for number in range(count):
            await (await noop.enqueue(number)).result(timeout=30)
        counts, total = counted.since(), counted.total()

    assert counts["xadd"] == counts["xack"] == counts["xdel"] == counts["msetex"] == count
    assert counts["publish"] == count
    # Beside them the schedule is looked at and a read may time out, now and then.
    assert count <= counts["xreadgroup"] <= count * 1.1
    assert 2 * count <= counts["evalsha"] <= 2 * count * 1.1
    # One subscription serves all, and what was told need not be asked for.
    assert counts["subscribe"] == counts["unsubscribe"] == counts["get"] == counts["xpending"] == 0
    # Per task the enqueue, the outcome, and the next read.
    assert counts["reads"] <= 3 * count * 1.1
    assert total <= 11 * count * 1.1


async def test_many_leases_are_renewed_by_few_commands(own_url: str, look: redis.Redis) -> None:
    count = 300
    app = App(own_url)
    ended = asyncio.Event()

    @app.task
    async def hang(number: int) -> None:
        await ended.wait()

    def renewals() -> int:
        stats = look.info("commandstats")
        return int(stats.get("cmdstat_xclaim", {"calls": 0})["calls"])

    async with app, app.worker(concurrency=count, lease=1.5):
        announced = Counted(look)
        tasks = await hang.enqueue_many(range(count))
        # The first ones come with the announcement that they run.
        await eventually(lambda: len(look.keys("*:task:*")) == count)
        announcing = announced.since()
        before = renewals()
        counted = Counted(look)
        await eventually(lambda: renewals() >= before + 3)
        counts = counted.since()
        ended.set()
        await asyncio.gather(*(task.result(timeout=30) for task in tasks))

    assert announcing["xclaim"] == announcing["mset"] == announcing["publish"] <= 4
    # Per renewal one look and one claim, for all of them.
    assert counts["xpending"] <= counts["xclaim"] + 1 <= 6
    assert counts["mset"] == counts["set"] == 0, "announced once"


async def test_a_chunk_costs_two_commands(own_url: str, look: redis.Redis) -> None:
    count = 2000
    async with declare(own_url) as app, app.worker():
        stream = app.tasks.get("stream")
        await (await stream.enqueue(1)).result(timeout=30)
        counted = Counted(look)
        await (await stream.enqueue(count)).result(timeout=30)
        counts, total = counted.since(), counted.total()

    assert counts["xadd"] == count + 1, "a chunk each, and the task itself"
    assert count < counts["publish"] <= count + 3, "the announcement and the outcome"
    assert total <= 2 * count + 30
    assert counts["reads"] <= count / 8


async def test_nothing_is_alive_after_ten_thousand_tasks(own_url: str) -> None:
    async with declare(own_url) as app, app.worker(concurrency=50):
        noop = app.tasks.get("noop")
        await (await noop.enqueue(0)).result(timeout=30)
        before_tasks = len(asyncio.all_tasks())
        gc.collect()
        before_objects = len(gc.get_objects())

        tasks = await noop.enqueue_many(range(10_000))
        await asyncio.gather(*(task.result(timeout=60) for task in tasks[-20:]))
        await drained(app)
        del tasks
        gc.collect()

        assert len(asyncio.all_tasks()) <= before_tasks + 3
        assert len(gc.get_objects()) <= before_objects + 200


async def test_attempts_are_freed_without_the_collector(own_url: str) -> None:
    def alive() -> list[Attempt]:
        return [thing for thing in gc.get_objects() if type(thing) is Attempt]

    async with declare(own_url) as app, app.worker(concurrency=50):
        noop, stream = app.tasks.get("noop"), app.tasks.get("stream")
        await (await noop.enqueue(0)).result(timeout=30)
        gc.collect()
        of_others = alive()  # held, so that their number stays the same
        gc.disable()
        try:
            await noop.enqueue_many(range(1000))
            await (await stream.enqueue(10)).result(timeout=30)
            await drained(app)
            # What is being stored right now may be alive for a moment.
            await eventually(lambda: len(alive()) == len(of_others), within=5)
        finally:
            gc.enable()


async def test_what_is_left_of_tasks_is_their_records_and_what_was_answered(
    own_url: str, look: redis.Redis
) -> None:
    app = declare(own_url)

    @app.task(queue="q", attempts=2, backoff=Backoff(base=0.001))
    async def flaky() -> int:
        if current().attempt == 1:
            raise RuntimeError("once")
        return 1

    async with app:
        noop = app.tasks.get("noop")
        async with app.worker(scheduler_interval=0.02):
            tasks: list[Task[Any]] = list(await noop.enqueue_many(range(50)))
            tasks += [await noop.options(priority=name).enqueue(1) for name in ("high", "low")]
            tasks += [await noop.options(id="mine").enqueue(1), await flaky.enqueue()]
            tasks += [await noop.options(delay=0.01).enqueue(1)]
            await asyncio.gather(*(task.result(timeout=30) for task in tasks))
        cancelled = await noop.options(delay=60).enqueue(1)
        assert await cancelled.cancel()
        tasks.append(cancelled)

    records = {f"{{cw:q}}:task:{task.id}" for task in tasks}
    lanes = {f"{{cw:{q}}}:stream:{lane.value}" for q in ("q", "stream") for lane in Priority}
    assert {key.decode() for key in look.keys("*")} == records | lanes | {"{cw:q}:sent"}
    assert all(0 < look.ttl(key) <= 3600 for key in records)
    for lane in lanes:
        assert look.xlen(lane) == 0
        assert look.xpending(lane, "workers")["pending"] == 0
        assert look.xinfo_consumers(lane, "workers") == []
    # A producer's slots, each with one short answer.
    assert look.hlen("{cw:q}:sent") <= 64
    assert all(len(answer) < 500 for answer in look.hvals("{cw:q}:sent"))


async def test_bytes_per_queued_task_are_bounded(own_url: str, look: redis.Redis) -> None:
    count = 20_000
    async with declare(own_url) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        before = look.info("memory")["used_memory"]
        await noop.enqueue_many(range(count))
        used = look.info("memory")["used_memory"] - before

    assert used / count <= 50.4, "36 bytes of which are the call"
