"""Tasks whose function a worker does not have: others get them, and at last nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis
from tests.eventually import eventually
from tests.worker.attempts import ENTRY_ID, make_attempt

from castwork import App, AppSettings, TaskFunction, TaskState, current
from castwork.model.entry import Meta
from castwork.model.record import ErrorInfo
from castwork.worker.outcome import Bury, Finish, Outcome, Park, unknown
from castwork.worker.written import next_entry

NewTask = TaskFunction[[], int]


@pytest.fixture
async def older(server_url: str, namespace: str) -> AsyncIterator[App]:
    """The app before a deploy, which lacks a function."""
    made = App(server_url, settings=AppSettings(namespace=namespace))

    @made.task
    async def old() -> None: ...

    async with made:
        yield made


@pytest.fixture
def new(app: App) -> NewTask:
    @app.task(attempts=1)
    async def new() -> int:
        return current().attempt

    return new


async def test_a_task_that_a_worker_does_not_know_is_run_by_one_that_does(
    app: App, older: App, new: NewTask, caplog: pytest.LogCaptureFixture
) -> None:
    async with app:
        async with older.worker(scheduler_interval=0.05):
            tasks = [await new.enqueue() for _ in range(3)]
            for task in tasks:
                await eventually(lambda task=task: _is(task, TaskState.SCHEDULED))
            status = await tasks[0].status()
            assert (status.attempts, status.error and status.error.type) == (0, "UnknownTask")
        async with app.worker(scheduler_interval=0.05):
            assert [await task.result(timeout=20) for task in tasks] == [1, 1, 1]
    said = [r.getMessage() for r in caplog.records if "no task function is named" in r.getMessage()]
    assert len(said) == 1, "once per name"


async def test_a_task_that_nobody_knows_is_dead_after_the_grace_and_can_be_replayed(
    app: App, older: App, new: NewTask
) -> None:
    async with app:
        task = await new.enqueue()
        async with older.worker(scheduler_interval=0.05, unknown_grace=0.2):
            assert (await task.wait(timeout=20)).status is TaskState.DEAD
        [letters] = app.dead_letters()
        letter = await letters.get(task.id)
        assert (letter.attempts, letter.errors[-1]["type"]) == (0, "UnknownTask")
        await letters.replay(task.id)
        async with app.worker():
            assert await task.result(timeout=10) == 1


async def test_a_task_that_waits_to_be_known_is_cancelled_and_keeps_its_lane_and_deadline(
    app: App, older: App, new: NewTask, plain: redis.Redis
) -> None:
    async with app, older.worker(scheduler_interval=0.05):
        task = await new.options(priority="high", deadline=60).enqueue()
        await eventually(lambda: _is(task, TaskState.SCHEDULED))
        [parked] = plain.hvals(new.store.place.keys.parked)
        assert b'"lane":"high"' in parked
        assert b"expires_ms" in parked
        assert await task.cancel()


ERROR = ErrorInfo("UnknownTask", "no task function is named 'new'")
NOW = int(ENTRY_ID.partition(b"-")[0])


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        (0.0, Park(0.5, ERROR, NOW)),
        (4.0, Park(4.0, ERROR, NOW - 4000)),
        (300.0, Park(30.0, ERROR, NOW - 300_000)),
        (595.0, Park(5.0, ERROR, NOW - 595_000)),
        (600.0, Bury(ERROR)),
    ],
)
def test_waits_for_a_worker_that_knows_the_task_grow_until_the_grace_is_over(
    waited: float, expected: Outcome
) -> None:
    meta = Meta(unknown_ms=NOW - int(waited * 1000)) if waited else None
    assert unknown(make_attempt(meta=meta), ERROR, NOW, grace=600.0) == expected
    assert unknown(make_attempt(meta=meta), ERROR, 0, grace=600.0) == expected, "the entry's time"


def test_an_unknown_task_that_is_too_late_expires() -> None:
    attempt = make_attempt(meta=Meta(expires_ms=1000), at=NOW - 2000)
    outcome = unknown(attempt, ERROR, NOW, grace=600.0)
    assert isinstance(outcome, Finish)
    assert outcome.status is TaskState.EXPIRED


def test_attempts_that_were_unknown_do_not_count_and_an_attempt_that_runs_forgets_them() -> None:
    attempt = make_attempt(deliveries=2, meta=Meta(attempts=3, uncounted=1))
    entry = next_entry(attempt, ERROR, uncounted=0, started=False, unknown_ms=NOW)
    assert entry.meta == Meta(attempts=4, uncounted=2, unknown_ms=NOW)
    attempt = make_attempt(meta=entry.meta)
    assert attempt.counted == 5 - 2
    again = next_entry(attempt, ERROR, uncounted=0)
    assert again.meta is not None
    assert again.meta.unknown_ms == 0


async def _is(task: object, state: TaskState) -> bool:
    return (await task.status()).status is state  # type: ignore[attr-defined]
