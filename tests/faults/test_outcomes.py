"""What becomes of tasks that fail, are late, come too early or are too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import App, TaskFunction, TaskState
from castwork.model.errors import QueueFull, TaskDead, TaskExpired, TaskFailed
from castwork.model.queue import Queue

Tasks = Callable[[str], TaskFunction[..., Any]]


async def test_failing_task_is_retried_until_it_succeeds(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    await crew.one()
    task = await tasks("flaky").enqueue(2)
    assert await task.result(timeout=10) == 3
    assert notes.runs() == {task.id: 3}
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id], succeeded=1)
    assert ledger.attempts([task.id]) == {3: 1}


async def test_task_that_takes_too_long_is_interrupted_retried_and_buried(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    await crew.one()
    task = await tasks("too_slow").enqueue()
    with pytest.raises(TaskDead, match="longer than its timeout"):
        await task.result(timeout=10)
    assert notes.runs() == {task.id: 2}
    ledger.assert_conserved([task.id], dead=1)


async def test_attempts_of_one_call_replace_those_of_the_function(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    await crew.one()
    task = await tasks("flaky").options(attempts=1).enqueue(2)
    with pytest.raises(TaskDead, match="failure 1"):
        await task.result(timeout=10)
    assert notes.runs() == {task.id: 1}
    ledger.assert_conserved([task.id], dead=1)


async def test_task_says_itself_when_to_try_again(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    await crew.one()
    task = await tasks("later").enqueue(0.2)  # its backoff would take up to a minute
    assert await task.result(timeout=10) == 2
    assert notes.runs() == {task.id: 2}
    ledger.assert_conserved([task.id], succeeded=1)


async def test_discarded_task_fails_at_once(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    await crew.one()
    task = await tasks("discard").enqueue()
    with pytest.raises(TaskFailed, match="unwanted"):
        await task.result(timeout=10)
    assert notes.runs() == {task.id: 1}
    ledger.assert_conserved([task.id], failed=1)


async def test_task_waits_for_its_retry_in_the_schedule(
    crew: Crew, tasks: Tasks, ledger: Ledger
) -> None:
    worker = await crew.one()
    task = await tasks("parks").enqueue()
    await eventually(lambda: ledger.scheduled() == 1)
    assert (ledger.entries(), ledger.pending()) == (0, 0)
    status = await task.status()
    assert (status.status, status.attempts) == (TaskState.SCHEDULED, 1)
    assert status.error is not None
    assert status.error.message == "come back in a while"
    worker.kill()  # who parked it need not live
    await crew.one()
    due = ledger.client.zscore(ledger.keys.due, task.id)
    ledger.client.zadd(ledger.keys.due, {task.id: due - 200_000})
    await eventually(lambda: (ledger.record(task.id) or {}).get("attempts") == 2)


async def test_delayed_task_does_not_run_before_its_time(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis
) -> None:
    await crew.one()
    before = plain.time()
    task = await tasks("count").options(delay=1.0).enqueue(3)
    assert (await task.status()).status is TaskState.SCHEDULED
    assert await task.result(timeout=10) == 6
    record = ledger.record(task.id)
    assert record is not None
    assert record["started_at"] >= before[0] + before[1] / 1e6 + 1.0
    ledger.assert_conserved([task.id], succeeded=1)


async def test_one_key_makes_one_task(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    count = tasks("count").options(key="order-7")
    made = await asyncio.gather(*(count.enqueue(1) for _ in range(20)))
    delayed = await tasks("count").options(key="order-7", delay=1).enqueue(1)
    other = await tasks("count").options(key="order-8").enqueue(1)
    assert len({task.id for task in (*made, delayed)}) == 1
    assert ledger.entries() == 2
    await crew.one()
    assert await made[0].result(timeout=10) == 2
    assert await other.result(timeout=10) == 2
    assert (await count.enqueue(1)).id == made[0].id  # finished, and still remembered
    await eventually(ledger.is_empty)
    assert notes.runs() == {made[0].id: 1, other.id: 1}


async def test_task_whose_deadline_passed_is_not_started(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    late = await tasks("count").options(deadline=0.1).enqueue(1)
    in_time = await tasks("count").options(deadline=600).enqueue(1)
    entry_ms = int(ledger.client.xrange(ledger.streams[1])[0][0].split(b"-")[0])
    await eventually(lambda: _server_ms(ledger.client) > entry_ms + 150)
    await crew.one()
    with pytest.raises(TaskExpired):
        await late.result(timeout=10)
    assert await in_time.result(timeout=10) == 2
    await eventually(ledger.is_empty)
    assert notes.runs() == {in_time.id: 1}
    ledger.assert_conserved([late.id, in_time.id], expired=1, succeeded=1)


def _server_ms(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def test_full_queue_refuses_and_accepts_again(
    crew: Crew, tasks: Tasks, sample: App, plain: redis.Redis, namespace: str
) -> None:
    bounded = tasks("bounded")
    made = [await bounded.enqueue(n) for n in range(3)]
    with pytest.raises(QueueFull) as full:
        await bounded.enqueue_many(range(3))  # as a whole or not at all
    assert (full.value.queue, full.value.depth) == ("bounded", 3)
    made += await bounded.enqueue_many([3, 4])
    with pytest.raises(QueueFull):
        await bounded.enqueue(5)
    await crew.one(["bounded"])
    assert [await task.result(timeout=10) for task in made] == [0, 1, 2, 3, 4]
    ledger = Ledger(plain, namespace, Queue("bounded"))
    await eventually(ledger.is_empty)
    assert await (await bounded.enqueue(6)).result(timeout=10) == 6
    ledger.assert_conserved([task.id for task in made], succeeded=5)
