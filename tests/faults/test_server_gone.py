"""A server that goes away and comes back, and one without memory: everything waits and goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes, build

from castwork import App, LinkSettings, Task, TaskFunction
from castwork.embedded import EmbeddedServer
from castwork.model.errors import OutOfMemory
from castwork.model.queue import Queue
from castwork.store.keys import ChannelKeys

Tasks = Callable[[str], TaskFunction[..., Any]]

pytestmark = pytest.mark.one_server("each test stops, freezes or starves a server of its own")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of this test's own, with its data in an append-only file."""
    with EmbeddedServer(data=tmp_path / "data", port=0) as server:
        yield server


@pytest.fixture
def server_url(server: EmbeddedServer) -> str:
    return server.url


async def test_server_restarts_and_nothing_is_lost(
    server: EmbeddedServer,
    crew: Crew,
    tasks: Tasks,
    ledger: Ledger,
    sample: App,
    notes: Notes,
    tmp_path: Path,
) -> None:
    workers = [crew.start(concurrency=5, lease=2.0) for _ in range(2)]
    hearer = crew.start([])
    await crew.started(*workers, hearer)
    count = tasks("count")
    news = sample.channels["news"]
    await news.publish(0)
    delayed = await count.options(delay=2).enqueue(-1)
    made = await count.enqueue_many([(n, 0.05) for n in range(200)])
    await eventually(lambda: ledger.states([t.id for t in made])["succeeded"] > 20)

    port = int(server.url.rpartition(":")[2])
    await asyncio.to_thread(server.stop)
    calls = [asyncio.create_task(count.enqueue(n)) for n in range(200, 230)]
    results = [asyncio.create_task(task.result(timeout=30)) for task in made]
    told = asyncio.create_task(news.publish(1))
    await eventually(lambda: "no connection" in workers[0].log())
    assert not any(call.done() for call in (*calls, told))
    again = EmbeddedServer(data=tmp_path / "data", port=port)
    await asyncio.to_thread(again.start)
    try:
        made += await asyncio.gather(*calls)
        await told
        values = await asyncio.gather(*results)
        values += [await task.result(timeout=20) for task in (*made[200:], delayed)]
        assert values == [*(2 * n for n in range(230)), -2]
        assert all(worker.is_alive for worker in workers)
        await eventually(ledger.is_empty)
        ledger.assert_conserved([task.id for task in (*made, delayed)], succeeded=231)
        name = f"news:{hearer.pid}"
        await eventually(lambda: notes.read(name)[-1:] == [1])
        assert notes.read(name) == [0, 1]
    finally:
        await sample.close()
        again.stop()


async def test_server_is_frozen_and_what_is_sent_again_happens_once(
    server: EmbeddedServer,
    crew: Crew,
    tasks: Tasks,
    ledger: Ledger,
    sample: App,
    plain: redis.Redis,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = await crew.one(concurrency=10, lease=2.0)
    await sample.connections.open()
    # Both sides give the connection up and send again, while the first calls wait in sockets.
    os.kill(server.pid, signal.SIGSTOP)
    try:
        queued = asyncio.gather(
            *(tasks("count").options(key=f"k{n}").enqueue(n) for n in range(300))
        )
        told = asyncio.gather(*(sample.channels["news"].publish(n) for n in range(20)))
        silent = "is silent, connection castwork-commands is given up"
        await eventually(lambda: silent in caplog.text and silent in worker.log(), within=20)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    ids = [task.id for task in await queued]
    await told
    await eventually(lambda: ledger.states(ids)["succeeded"] == 300, within=20)
    await eventually(ledger.is_empty)
    ledger.assert_conserved(ids, succeeded=300)
    stored = plain.xrange(ChannelKeys.of(namespace, "news").history)
    assert sorted(int(fields[b"event"]) for _, fields in stored) == list(range(20))
    assert worker.is_alive


async def test_server_that_refuses_writes_is_waited_for_and_not_besieged(
    server_url: str, namespace: str, plain: redis.Redis
) -> None:
    app = build(server_url, namespace, link=LinkSettings())
    bounded = app.tasks.get("bounded")
    async with app.worker(["bounded"]):
        assert await (await bounded.enqueue(1)).result(timeout=10) == 1
        plain.execute_command("REPLICAOF", "127.0.0.1", "1")  # READONLY, as after a failover
        before, started = _connections_made(plain), plain.time()[0]
        waiting = asyncio.create_task(bounded.enqueue(2))
        await eventually(lambda: plain.time()[0] >= started + 4)
        assert not waiting.done()
        assert _connections_made(plain) - before < 60
        plain.execute_command("REPLICAOF", "NO", "ONE")
        assert await (await waiting).result(timeout=20) == 2
    await app.close()


def _connections_made(plain: redis.Redis) -> int:
    return int(plain.info("stats")["total_connections_received"])


@pytest.fixture
async def full(plain: redis.Redis) -> AsyncIterator[Callable[[], None]]:
    """Makes the server refuse whatever needs memory."""

    def fill() -> None:
        plain.config_set("maxmemory", 1)

    yield fill
    plain.config_set("maxmemory", 0)


async def test_server_without_memory_refuses_tasks_and_running_ones_finish(
    crew: Crew,
    tasks: Tasks,
    ledger: Ledger,
    notes: Notes,
    plain: redis.Redis,
    full: Callable[[], None],
) -> None:
    worker = await crew.one()
    running = await tasks("count").enqueue_many([(n, 1.0) for n in range(10)])
    await eventually(lambda: len(notes.runs()) == 10)
    full()
    with pytest.raises(OutOfMemory):
        await tasks("count").enqueue(1)
    with pytest.raises(OutOfMemory):
        await tasks("count").options(delay=5).enqueue(1)
    assert [await task.result(timeout=10) for task in running] == [2 * n for n in range(10)]
    assert worker.is_alive
    assert set(notes.runs().values()) == {1}
    plain.config_set("maxmemory", 0)
    assert await (await tasks("count").enqueue(4)).result(timeout=10) == 8
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id for task in running], succeeded=10)


async def test_worker_starts_on_a_server_without_memory_and_empties_the_queue(
    sample: App, tasks: Tasks, plain: redis.Redis, namespace: str, full: Callable[[], None]
) -> None:
    async with sample.worker(["bounded"]):
        pass  # its groups are made
    made = await tasks("bounded").enqueue_many(range(5))
    full()
    async with sample, sample.worker(["bounded"]):
        assert [await task.result(timeout=10) for task in made] == [0, 1, 2, 3, 4]
    ledger = Ledger(plain, namespace, Queue("bounded"))
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id for task in made], succeeded=5)


async def test_worker_that_could_not_renew_for_longer_than_a_lease_keeps_its_tasks(
    crew: Crew,
    tasks: Tasks,
    notes: Notes,
    plain: redis.Redis,
    full: Callable[[], None],
) -> None:
    await crew.one(lease=1.0)
    running = await tasks("count").enqueue_many([(n, 3.5) for n in range(5)])
    await eventually(lambda: len(notes.runs()) == 5)
    plain.config_set("min-replicas-to-write", 1)
    try:
        await eventually(lambda: _idle(plain, running[0]) > 1500)
    finally:
        plain.config_set("min-replicas-to-write", 0)
    assert [await task.result(timeout=15) for task in running] == [2 * n for n in range(5)]
    assert set(notes.runs().values()) == {1}


def _idle(plain: redis.Redis, task: Task[Any]) -> int:
    """Milliseconds since the lease of a lane's first task was renewed."""
    [lane] = [key for key in task._store.place.keys.lanes if plain.xlen(key)]
    [one, *_] = plain.xpending_range(lane, task._store.queue.group, "-", "+", 1)
    return int(one["time_since_delivered"])


async def test_stream_waits_for_memory_and_goes_on_where_it_was(
    crew: Crew, tasks: Tasks, notes: Notes, plain: redis.Redis, full: Callable[[], None]
) -> None:
    await crew.one(lease=1.0)
    task = await tasks("answer").enqueue(30, 0.05)
    chunks = task.chunks()
    seen = [(await anext(chunks)).data]
    full()
    await eventually(lambda: _refused(plain) > 3)
    plain.config_set("maxmemory", 0)
    async for chunk in chunks:
        seen.append(chunk.data)
    assert seen == [f"w{n} " for n in range(30)]
    assert list(notes.runs().values()) == [1]


def _refused(plain: redis.Redis) -> int:
    """How many writes the server has refused for want of memory."""
    return int(plain.info("errorstats").get("errorstat_OOM", {}).get("count", 0))
