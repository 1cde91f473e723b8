"""Workers that are killed, stopped and frozen: no task is lost, none has two outcomes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew, Process
from tests.faults.sample_app import Notes

from castwork import App, Chunk, TaskFunction, TaskState
from castwork.model.record import Record

Tasks = Callable[[str], TaskFunction[..., Any]]

LEASE = 1.0


async def test_stream_of_a_killed_worker_is_reset_and_then_complete(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    first = await crew.one(lease=LEASE)
    task = await tasks("answer").enqueue(60, 0.05)
    news: list[Chunk | Record] = []
    async with asyncio.timeout(20) as deadline:
        async for item in task.events():
            news.append(item)
            if isinstance(item, Chunk) and item.id == "1-5":
                await crew.one(lease=LEASE)
                first.kill()
                # Ten leases: by far enough, and less than the lease that a worker has by default.
                deadline.reschedule(asyncio.get_running_loop().time() + 10 * LEASE)
            if isinstance(item, Chunk) and item.kind == "reset":
                deadline.reschedule(asyncio.get_running_loop().time() + 20)

    chunks = [item for item in news if isinstance(item, Chunk)]
    resets = [i for i, chunk in enumerate(chunks) if chunk.kind == "reset"]
    words = [f"w{n} " for n in range(60)]
    assert len(resets) == 1
    before, after = chunks[: resets[0]], chunks[resets[0] + 1 :]
    assert [chunk.data for chunk in before] == words[: len(before)]
    assert [chunk.data for chunk in after] == words
    assert await task.result(timeout=5) == "".join(words)
    final = [item for item in news if isinstance(item, Record) and item.status.is_final]
    assert [(r.status, r.attempts) for r in final] == [(TaskState.SUCCEEDED, 2)]
    assert notes.runs() == {task.id: 2}
    ledger.assert_conserved([task.id], succeeded=1)


@pytest.mark.timeout(120)
async def test_thousand_tasks_over_workers_that_come_and_go(
    crew: Crew,
    tasks: Tasks,
    ledger: Ledger,
    notes: Notes,
    plain: redis.Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listener = plain.pubsub()
    listener.psubscribe(f"{ledger.keys.told('')}*")
    workers = [await crew.one(lease=LEASE, concurrency=20, grace=1.0)]
    made = await tasks("count").enqueue_many([(n, 0.2 + n % 7 * 0.1) for n in range(1000)])
    ids = [task.id for task in made]

    def ended() -> int:
        return ledger.states(ids)["succeeded"]

    async def change(to: int, at: int, end: Callable[[Process], None]) -> None:
        await eventually(lambda: ended() >= at, within=60, what=f"{at} tasks ended")
        fresh = [crew.start(lease=LEASE, concurrency=20, grace=1.0) for _ in range(to)]
        await crew.started(*fresh)
        for worker in workers:
            end(worker)
        workers[:] = fresh

    await change(4, 40, Process.kill)
    await change(4, 200, lambda w: Process.kill(w) if w is workers[0] else Process.terminate(w))
    await change(4, 450, lambda w: Process.kill(w) if w in workers[:2] else Process.terminate(w))
    await change(2, 650, Process.kill)
    await change(2, 800, Process.terminate)
    await eventually(lambda: ended() == 1000, within=40, what="all tasks ended")
    await eventually(ledger.is_empty, within=5)

    ledger.assert_conserved(ids, succeeded=1000)
    assert [await task.result(timeout=5) for task in made] == [2 * n for n in range(1000)]
    assert _outcomes_told(listener, ledger) == Counter(ids)
    runs = notes.runs()
    assert set(runs) == set(ids)
    assert sum(runs.values()) > 1000, "no worker was killed in mid-task"
    with capsys.disabled():
        print(f"\n1,000 tasks, 17 workers: runs per task {dict(Counter(runs.values()))},", end=" ")
        print(f"attempts {dict(sorted(ledger.attempts(ids).items()))}")


def _outcomes_told(listener: redis.client.PubSub, ledger: Ledger) -> Counter[str]:
    """How often the end of each task was told."""
    told: Counter[str] = Counter()
    while message := listener.get_message(timeout=0.2):
        if message["type"] != "pmessage":
            continue
        lines = message["data"].decode().split("\n")
        half = len(lines) // 2
        for key, record in zip(lines[:half], lines[half:], strict=True):
            if json.loads(record)["status"] == "succeeded":
                told[key.removeprefix(ledger.keys.record_prefix)] += 1
    listener.close()
    return told


async def end_by_replacing(crew: Crew, ledger: Ledger, ids: list[str]) -> None:
    """Wait until all tasks have ended; start a worker for five tasks whenever there is none."""
    worker = crew.start(concurrency=5)

    def all_ended() -> bool:
        nonlocal worker
        if not worker.is_alive:
            worker = crew.start(concurrency=5)
        states = ledger.states(ids)
        return states["succeeded"] + states["dead"] == len(ids)

    await eventually(all_ended, within=40, every=0.1)


async def test_task_that_kills_its_workers_dies_and_its_neighbours_finish(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    neighbours = await tasks("count").enqueue_many([(n, 0.05) for n in range(20)])
    poison = await tasks("poison").enqueue()
    neighbours += await tasks("count").enqueue_many([(n, 0.05) for n in range(20)])
    ids = [poison.id, *(task.id for task in neighbours)]
    await end_by_replacing(crew, ledger, ids)
    await eventually(ledger.is_empty, within=5)
    ledger.assert_conserved(ids, succeeded=40, dead=1)
    assert notes.runs()[poison.id] == 3
    assert len(crew.processes) == 4
    [letter] = ledger.dead()
    assert letter[b"id"].decode() == poison.id
    assert b"WorkerLost" in letter[b"errors"]


async def test_neighbours_of_a_crash_run_again_whatever_they_were_lost_with(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    neighbours = await tasks("count").enqueue_many([(n, 0.4) for n in range(4)])
    poison = await tasks("poison").enqueue()
    ids = [poison.id, *(task.id for task in neighbours)]
    await end_by_replacing(crew, ledger, ids)
    ledger.assert_conserved(ids, succeeded=4, dead=1)
    assert notes.runs()[poison.id] == 3
    assert max(notes.runs().values()) == 3


async def test_frozen_worker_that_wakes_up_changes_nothing(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes, sample: App
) -> None:
    zombie = await crew.one(lease=LEASE)
    task = await tasks("answer").enqueue(100, 0.03)
    silent = await tasks("linger").enqueue(4.0)
    await eventually(lambda: len(notes.runs()) == 2)
    await eventually(lambda: sample.connections.is_open)
    zombie.pause()
    heir = await crew.one(lease=LEASE)
    await eventually(lambda: set(notes.runs().values()) == {2}, within=2 * LEASE + 2)
    zombie.resume()
    words = [f"w{n} " for n in range(100)]
    assert await task.result(timeout=20) == "".join(words)
    assert await silent.result(timeout=20) == str(heir.pid)
    await eventually(ledger.is_empty, within=5)

    chunks = [chunk async for chunk in task.chunks()]
    reset = [chunk.kind for chunk in chunks].index("reset")
    assert [chunk.data for chunk in chunks[reset + 1 :]] == words
    assert all(chunk.id.startswith("2-") for chunk in chunks[reset:])
    ledger.assert_conserved([task.id, silent.id], succeeded=2)
    assert set(ledger.attempts([task.id, silent.id])) == {2}
    assert notes.runs("interrupted") == {silent.id: 1}
    assert notes.runs("finished") == {silent.id: 1}
    log = zombie.log()
    assert f"task {silent.id}: the lease is lost" in log
    assert f"task {task.id}: attempt 1 lost its lease, its outcome is dropped" in log


async def test_task_given_to_a_worker_that_is_frozen_is_run_by_another(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes, plain: redis.Redis
) -> None:
    zombie = await crew.one(lease=LEASE, block=30.0)
    await eventually(lambda: any("b" in client["flags"] for client in plain.client_list()))
    zombie.pause()
    task = await tasks("linger").enqueue(1.0)
    assert ledger.pending() == 1  # the server has handed it to the frozen worker
    heir = await crew.one(lease=LEASE)
    await eventually(lambda: notes.runs() == {task.id: 1})
    zombie.resume()
    assert await task.result(timeout=10) == str(heir.pid)
    more = await tasks("linger").enqueue(0.0)
    await more.result(timeout=10)
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id, more.id], succeeded=2)
    assert ledger.attempts([task.id]) == {2: 1}
    assert notes.runs("finished") == {task.id: 1, more.id: 1}
