"""Cancellation in every state, and in every race."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes
from tests.faults.test_stopping import add_to_every_lane

from castwork import App, Task, TaskFunction, TaskState
from castwork.model.errors import TaskCancelled

Tasks = Callable[[str], TaskFunction[..., Any]]


async def test_queued_task_is_cancelled_and_never_runs(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    task = await tasks("count").enqueue(1)
    other = await tasks("count").enqueue(2)
    assert await task.cancel()
    assert ledger.entries() == 1
    assert await task.cancel()  # again: it is, still
    with pytest.raises(TaskCancelled):
        await task.result(timeout=5)
    await crew.one()
    assert await other.result(timeout=5) == 4
    assert set(notes.runs()) == {other.id}
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id, other.id], succeeded=1, cancelled=1)


async def test_scheduled_tasks_are_cancelled(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    delayed = await tasks("count").options(delay=60).enqueue(1)
    assert (await delayed.status()).status is TaskState.SCHEDULED
    assert await delayed.cancel()
    await crew.one()
    parked = await tasks("parks").enqueue()
    await eventually(lambda: ledger.scheduled() == 1)
    assert await parked.cancel()
    ledger.assert_conserved([delayed.id, parked.id], cancelled=2)
    assert notes.runs() == {parked.id: 1}


async def test_running_task_is_interrupted(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    await crew.one()
    task = await tasks("linger").enqueue(30)
    await eventually(notes.runs)
    assert await task.cancel(timeout=5)
    assert (await task.status()).status is TaskState.CANCELLED
    assert notes.runs("interrupted") == {task.id: 1}
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id], cancelled=1)


async def test_finished_task_keeps_its_outcome(crew: Crew, tasks: Tasks, ledger: Ledger) -> None:
    await crew.one()
    task = await tasks("count").enqueue(1)
    await task.result(timeout=10)
    assert not await task.cancel()
    assert await task.result(timeout=5) == 2
    ledger.assert_conserved([task.id], succeeded=1)


async def test_tasks_beyond_the_slots_of_a_worker_go_back_and_are_cancelled_there(
    crew: Crew, plain: redis.Redis, tasks: Tasks, ledger: Ledger, notes: Notes, sample: App
) -> None:
    await crew.one(concurrency=1, block=5.0)
    ids = add_to_every_lane(plain, ledger, 3.0)
    [started] = await eventually(notes.runs)
    # Not only one pending: so it is also before the others have been read.
    await eventually(
        lambda: ledger.pending() == 1 and plain.hlen(ledger.keys.moved) == 2,
        what="what has no slot goes back",
    )
    for task_id in ids:
        if task_id != started:
            assert await sample.get_task(task_id).cancel()
    await eventually(lambda: ledger.states(ids) == {"succeeded": 1, "cancelled": 2})
    ledger.assert_conserved(ids, succeeded=1, cancelled=2)
    assert notes.runs() == {started: 1}


async def test_cancelled_in_any_moment_every_task_ends_once(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes, sample: App
) -> None:
    await crew.one(concurrency=10, heartbeat=0.2)
    count = tasks("count")
    dice = random.Random(20)

    async def race(number: int) -> tuple[Task[Any], bool]:
        await asyncio.sleep(dice.uniform(0, 1.5))
        task = await count.enqueue(number, dice.uniform(0, 0.02))
        await asyncio.sleep(dice.choice([0, dice.uniform(0, 0.03)]))
        return task, await task.cancel(timeout=15)

    raced = await asyncio.gather(*(race(number) for number in range(200)))
    ids = [task.id for task, _ in raced]
    await eventually(ledger.is_empty)
    cancelled = sum(was for _, was in raced)
    assert 0 < cancelled < 200
    ledger.assert_conserved(ids, succeeded=200 - cancelled, cancelled=cancelled)
    for task, was_cancelled in raced:
        assert (await task.status()).status == ("cancelled" if was_cancelled else "succeeded")
    assert max(notes.runs().values()) == 1

    async def idle() -> bool:
        [worker] = await sample.workers()
        return worker["load"] == 0

    await eventually(idle, what="the worker holds nothing")
    more = await count.enqueue_many(range(30))
    assert [await task.result(timeout=5) for task in more] == [2 * n for n in range(30)]
