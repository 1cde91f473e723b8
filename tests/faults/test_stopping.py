"""Workers that stop, that are blocked, and that are given more than they can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import TaskFunction
from castwork.store.keys import WorkerKeys

Tasks = Callable[[str], TaskFunction[..., Any]]


async def blocked(plain: redis.Redis) -> None:
    """Wait until the server holds a worker's read: a worker that is ready first claims once."""
    await eventually(lambda: any("b" in client["flags"] for client in plain.client_list()))


def add_to_every_lane(plain: redis.Redis, ledger: Ledger, seconds: float) -> list[str]:
    """One task per lane in one transaction: an idle worker's blocked read gets them together.

    So it is since Redis 7.2 and in Valkey; servers before that hand out one lane at a time.
    """
    ids = [f"work:lane{n}" for n in range(3)]
    with plain.pipeline(transaction=True) as pipe:
        for task_id, lane in zip(ids, ledger.streams, strict=True):
            args = f'{{"seconds": {seconds}}}'
            pipe.xadd(lane, {"task": "linger", "id": task_id, "args": args})
        pipe.execute()
    return ids


async def test_worker_that_got_more_than_it_can_run_at_once_runs_all(
    crew: Crew, plain: redis.Redis, ledger: Ledger, notes: Notes
) -> None:
    await crew.one(concurrency=1, block=5.0)
    await blocked(plain)
    ids = add_to_every_lane(plain, ledger, 0.05)
    await eventually(lambda: ledger.states(ids) == {"succeeded": 3}, within=10)
    ledger.assert_conserved(ids, succeeded=3)
    assert notes.runs() == dict.fromkeys(ids, 1)


async def test_stopping_worker_hands_back_what_it_has_not_started(
    crew: Crew, plain: redis.Redis, ledger: Ledger, notes: Notes
) -> None:
    worker = await crew.one(concurrency=1, block=5.0, lease=30.0, grace=20.0)
    await blocked(plain)
    ids = add_to_every_lane(plain, ledger, 1.5)
    await eventually(lambda: ledger.pending() == 3)
    await eventually(notes.runs)
    worker.terminate()
    await eventually(lambda: ledger.pending() == 1)
    assert notes.runs("finished") == {}, "the others went back only when the first had ended"
    [started] = notes.runs()
    for task_id in set(ids) - {started}:
        record = ledger.record(task_id)
        assert record is not None
        assert (record["status"], record.get("attempts", 0)) == ("queued", 0)
    assert await worker.ended() == 0
    assert notes.runs("finished") == {started: 1}
    await crew.one()
    await eventually(lambda: ledger.states(ids) == {"succeeded": 3})
    ledger.assert_conserved(ids, succeeded=3)
    assert ledger.attempts(ids) == {1: 3}
    assert notes.runs("interrupted") == {}


async def test_task_that_outlasts_the_grace_is_finished_elsewhere_uncounted(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    worker = await crew.one(lease=30.0, grace=0.3)
    task = await tasks("linger").options(attempts=1).enqueue(1.5)
    await eventually(notes.runs)
    worker.terminate()
    assert await worker.ended() == 0
    heir = await crew.one(lease=30.0)
    assert await task.result(timeout=10) == str(heir.pid)
    assert notes.runs() == {task.id: 2}
    assert notes.runs("interrupted") == {task.id: 1}
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id], succeeded=1)


async def test_stopped_worker_leaves_no_trace(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, namespace: str
) -> None:
    worker = await crew.one()
    await (await tasks("count").enqueue(1)).result(timeout=10)
    register = WorkerKeys(namespace)
    assert plain.zcard(register.register) == plain.hlen(register.info) == 1
    worker.terminate()
    assert await worker.ended() == 0
    assert plain.zcard(register.register) == plain.hlen(register.info) == 0
    for lane in ledger.streams:
        assert plain.xinfo_consumers(lane, "workers") == []
    assert "Traceback" not in worker.log()


async def test_blocked_event_loop_keeps_the_lease_and_is_named(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    blocked = await crew.one(lease=1.0)
    task = await tasks("block").enqueue(3.0)
    await eventually(notes.runs)
    await crew.one(lease=1.0)  # would take it, if the lease ran out
    assert await task.result(timeout=10) == "done"
    assert notes.runs() == {task.id: 1}
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id], succeeded=1)
    assert ledger.attempts([task.id]) == {1: 1}
    assert f"by task {task.id} (block)" in blocked.log()


async def test_event_loop_that_is_blocked_for_good_is_reported_and_its_task_comes_back(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes
) -> None:
    stuck = await crew.one(lease=1.0)
    task = await tasks("wedge").enqueue(30.0)
    await eventually(notes.runs)
    await crew.one(lease=1.0)
    assert await task.result(timeout=15) == "done"
    [place] = await eventually(lambda: notes.read("stuck"), within=10)
    assert task.id in place
    assert stuck.is_alive  # whoever supervises it decides
    stuck.kill()
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id], succeeded=1)
    assert notes.runs() == {task.id: 2}
