"""What a task costs, counted and not timed: commands, round trips, bytes, what stays behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from tests.faults.eventually import eventually

from castwork import App
from castwork.embedded import EmbeddedServer
from castwork.tasks.attempt import Attempt


@pytest.fixture
def own_server() -> Iterator[str]:
    """A server that nobody else sends commands to."""
    with EmbeddedServer() as server:
        yield server.url


@pytest.fixture
def look(own_server: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_server) as client:
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

    def _read(self) -> dict[str, int]:
        stats = self._client.info("commandstats")
        counts = {name.removeprefix("cmdstat_"): int(s["calls"]) for name, s in stats.items()}
        counts["reads"] = int(self._client.info("stats")["total_reads_processed"])
        return counts

    def since(self) -> dict[str, int]:
        now = self._read()
        return {name: count - self._before.get(name, 0) for name, count in now.items()}


async def drained(app: App, url: str, queue: str) -> None:
    """Wait until a queue is empty: the last outcome wakes us, nothing is polled."""
    last = await app.tasks.get("noop" if queue == "q" else "stream").enqueue(1)
    await last.result(timeout=30)


async def test_an_enqueue_is_one_script_of_four_commands(
    own_server: str, look: redis.Redis
) -> None:
    async with declare(own_server) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        counted = Counted(look)
        for number in range(100):
            await noop.enqueue(number)
        counts = counted.since()

    assert counts["evalsha"] == 100
    assert counts["hmget"] == counts["exists"] == counts["xadd"] == counts["hset"] == 100
    assert "set" not in counts, "a waiting task has no record yet"


async def test_enqueues_of_one_tick_share_scripts(own_server: str, look: redis.Redis) -> None:
    async with declare(own_server) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        counted = Counted(look)
        await asyncio.gather(*(noop.enqueue(number) for number in range(1000)))
        counts = counted.since()

    assert counts["xadd"] == 1000
    assert counts["hset"] == counts["hmget"] == counts["exists"] == counts["evalsha"]
    # One goes ahead alone, then groups of 250.
    assert counts["evalsha"] <= 6


async def test_bulk_travels_in_groups(own_server: str, look: redis.Redis) -> None:
    async with declare(own_server) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        counted = Counted(look)
        await noop.enqueue_many([(number,) for number in range(1000)])
        counts = counted.since()

    assert counts["evalsha"] == 4


async def test_a_drained_task_costs_few_commands(own_server: str, look: redis.Redis) -> None:
    count = 5000
    async with declare(own_server) as app:
        noop = app.tasks.get("noop")
        tasks = await noop.enqueue_many([(number,) for number in range(count)])
        counted = Counted(look)
        async with app.worker(concurrency=100):
            await asyncio.gather(*(task.result(timeout=30) for task in tasks[-5:]))
        counts = counted.since()

    assert counts["xpending"] <= count / 25, "one fence per group"
    assert count <= counts["set"] <= count * 1.02, "one record per task"
    # Claims and commits travel in groups of up to a hundred.
    assert counts["evalsha"] + counts["eval"] <= count / 25
    assert counts["xack"] <= count / 50
    assert counts["reads"] <= count / 20
    total = sum(calls for name, calls in counts.items() if name not in ("reads", "ping"))
    assert total <= count * 2.6, "a record, its announcement, and little else"


async def test_a_task_on_an_idle_worker_costs_one_read_and_two_scripts(
    own_server: str, look: redis.Redis
) -> None:
    count = 50
    async with declare(own_server) as app, app.worker():
        noop = app.tasks.get("noop")
        await (await noop.enqueue(0)).result(timeout=30)
        counted = Counted(look)
        for number in range(count):
            await (await noop.enqueue(number)).result(timeout=30)
        counts = counted.since()

    assert counts["xadd"] == counts["xdel"] == counts["set"] == count
    # Beside them the schedule is looked at and a read may time out, now and then.
    assert counts["xreadgroup"] <= count * 1.1
    assert counts["evalsha"] <= 2 * count * 1.1
    assert counts["subscribe"] == counts["hexists"] == counts["get"] == count
    # Per task the enqueue, the subscription with its look, the outcome, the next read, and the
    # end of the subscription, which may travel with the next one.
    assert counts["reads"] <= 6 * count * 1.1


async def test_many_leases_are_renewed_by_few_commands(own_server: str, look: redis.Redis) -> None:
    count = 300
    app = App(own_server)
    ended = asyncio.Event()

    @app.task
    async def hang(number: int) -> None:
        await ended.wait()

    def renewals() -> int:
        stats = look.info("commandstats")
        return int(stats.get("cmdstat_xclaim", {"calls": 0})["calls"])

    async with app, app.worker(concurrency=count, lease=1.5):
        tasks = await hang.enqueue_many([(number,) for number in range(count)])
        # The first one comes after all are announced as running, which looks at each of them.
        await eventually(renewals)
        counted = Counted(look)
        await eventually(lambda: renewals() >= 3)
        counts = counted.since()
        ended.set()
        await asyncio.gather(*(task.result(timeout=30) for task in tasks))

    assert counts["xpending"] <= 10


async def test_a_chunk_costs_two_commands(own_server: str, look: redis.Redis) -> None:
    count = 2000
    async with declare(own_server) as app, app.worker():
        stream = app.tasks.get("stream")
        await (await stream.enqueue(1)).result(timeout=30)
        counted = Counted(look)
        await (await stream.enqueue(count)).result(timeout=30)
        counts = counted.since()

    assert counts["xadd"] == count + 1, "a chunk each, and the task itself"
    assert count <= counts["publish"] <= count + 10
    total = sum(calls for name, calls in counts.items() if name != "reads")
    assert total <= 2 * count + 60


async def test_nothing_is_alive_after_ten_thousand_tasks(own_server: str) -> None:
    async with declare(own_server) as app, app.worker(concurrency=50):
        noop = app.tasks.get("noop")
        await (await noop.enqueue(0)).result(timeout=30)
        before_tasks = len(asyncio.all_tasks())
        gc.collect()
        before_objects = len(gc.get_objects())

        tasks = await noop.enqueue_many([(number,) for number in range(10_000)])
        await asyncio.gather(*(task.result(timeout=60) for task in tasks[-20:]))
        await drained(app, own_server, "q")
        del tasks
        gc.collect()

        assert len(asyncio.all_tasks()) <= before_tasks + 3
        assert len(gc.get_objects()) <= before_objects + 1000


async def test_attempts_are_freed_without_the_collector(own_server: str) -> None:
    async with declare(own_server) as app, app.worker(concurrency=50):
        noop = app.tasks.get("noop")
        await (await noop.enqueue(0)).result(timeout=30)
        gc.collect()
        gc.disable()
        try:
            await noop.enqueue_many([(number,) for number in range(1000)])
            await drained(app, own_server, "q")
            await asyncio.sleep(0)
            alive = sum(type(thing) is Attempt for thing in gc.get_objects())
        finally:
            gc.enable()

    assert alive <= 100, "what is claimed or being stored right now, and nothing else"


async def test_a_finished_task_leaves_its_record_only(own_server: str, look: redis.Redis) -> None:
    async with declare(own_server) as app, app.worker():
        noop = app.tasks.get("noop")
        tasks = await noop.enqueue_many([(number,) for number in range(50)])
        await asyncio.gather(*(task.result(timeout=30) for task in tasks))

        for key in look.scan_iter("*:stream:*"):
            assert look.xlen(key) == 0
            assert look.xpending(key, "workers")["pending"] == 0
        records = list(look.scan_iter("*:task:*"))
        assert len(records) == 50
        assert all(0 < look.ttl(key) <= 3600 for key in records)


async def test_bytes_per_queued_task_are_bounded(own_server: str, look: redis.Redis) -> None:
    count = 20_000
    async with declare(own_server) as app:
        noop = app.tasks.get("noop")
        await noop.enqueue(0)
        before = look.info("memory")["used_memory"]
        await noop.enqueue_many([(number,) for number in range(count)])
        used = look.info("memory")["used_memory"] - before

    assert used / count <= 200
