"""A server that forgets scripts, data and connections while tasks run; Valkey and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import TaskFunction

Tasks = Callable[[str], TaskFunction[..., Any]]


@pytest.fixture(params=["valkey", "redis"])
def server_url(request: pytest.FixtureRequest, server_url: str) -> str:
    """Both servers in turn."""
    return server_url if request.param == "valkey" else request.getfixturevalue("redis_url")


@asynccontextmanager
async def repeated(action: Callable[[], object], every: float) -> AsyncIterator[list[object]]:
    """Do something again and again beside the test; yields what it returned."""
    results: list[object] = []

    async def repeat() -> None:
        while True:
            results.append(action())
            await asyncio.sleep(every)

    storm = asyncio.create_task(repeat())
    try:
        yield results
    finally:
        storm.cancel()
        await asyncio.gather(storm, return_exceptions=True)


async def test_scripts_are_flushed_while_tasks_run(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, notes: Notes
) -> None:
    await crew.one(concurrency=20)
    async with repeated(plain.script_flush, every=0.02) as flushes:
        made = []
        for number in range(500):
            made.append(await tasks("count").enqueue(number, 0.02))
        made.append(await tasks("flaky").enqueue(2))
        ids = [task.id for task in made]
        await eventually(lambda: ledger.states(ids)["succeeded"] == 501, within=20)
        await eventually(ledger.is_empty)
    assert len(flushes) >= 10
    ledger.assert_conserved(ids, succeeded=501)
    assert sum(notes.runs().values()) == 503


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
async def test_connections_are_killed_while_tasks_run(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, notes: Notes, kind: str
) -> None:
    workers = [crew.start(concurrency=20, lease=2.0) for _ in range(2)]
    await crew.started(*workers)

    async with repeated(lambda: plain.client_kill_filter(_type=kind), every=0.2) as kills:
        made = await asyncio.gather(*(tasks("count").enqueue(n, 0.15) for n in range(500)))
        results = await asyncio.gather(*(task.result(timeout=30) for task in made))
    assert results == [2 * n for n in range(500)]
    assert sum(int(str(killed)) for killed in kills) >= 4
    assert all(worker.is_alive for worker in workers)
    await eventually(ledger.is_empty)
    ids = [task.id for task in made]
    ledger.assert_conserved(ids, succeeded=500)
    assert set(notes.runs()) == set(ids)


async def test_all_data_is_lost_and_work_goes_on(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, notes: Notes
) -> None:
    workers = [crew.start() for _ in range(2)]
    await crew.started(*workers)
    running = await tasks("linger").enqueue(30)
    await eventually(notes.runs)
    plain.flushall()
    await eventually(lambda: notes.runs("interrupted") == {running.id: 1})
    made = await tasks("count").enqueue_many(range(20))
    assert [await task.result(timeout=10) for task in made] == [2 * n for n in range(20)]
    assert all(worker.is_alive for worker in workers)
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id for task in made], succeeded=20)


async def test_group_is_destroyed_and_made_anew(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, notes: Notes
) -> None:
    worker = await crew.one()
    for lane in ledger.streams:
        plain.xgroup_destroy(lane, "workers")
    made = await tasks("count").enqueue_many(range(20))
    assert [await task.result(timeout=10) for task in made] == [2 * n for n in range(20)]
    assert worker.is_alive
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id for task in made], succeeded=20)
