"""What a worker logs of its work: what it serves, a line for each attempt if that is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from castwork import App, Backoff, Discard, Retry, current
from castwork.worker import journal


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO)
    # Commands that ran in this process before have set it as they were asked to.
    caplog.set_level(logging.INFO, journal.logger.name)
    yield caplog


def lines(told: pytest.LogCaptureFixture, task_id: str) -> list[str]:
    """The lines on a task's attempts, without the times."""
    of_task = [r for r in told.records if getattr(r, "task", "") == task_id]
    found = [r for r in of_task if hasattr(r, "seconds")]  # others tell of the task besides
    assert all(f", {vars(r)['seconds']:.3f} s" in r.getMessage() for r in found)
    return [r.getMessage().split(" (")[1].rsplit(", ", 1)[0].replace("):", "") for r in found]


async def test_a_worker_says_what_it_serves(app: App, told: pytest.LogCaptureFixture) -> None:
    @app.task(queue="a")
    async def second() -> None: ...
    @app.task(queue="a")
    async def first() -> None: ...
    @app.remote(queue="a")
    def elsewhere() -> None: ...

    app.queue("b")
    async with app, app.worker() as worker:
        said = [r.getMessage() for r in told.records if r.name == "castwork.worker.worker"]
    assert said[:3] == [
        "queue a: first, second",
        "queue b: no functions of its own",
        f"worker {worker.id} serves ['a', 'b']",
    ]


async def test_each_attempt_has_one_line(app: App, told: pytest.LogCaptureFixture) -> None:
    hanging = asyncio.Event()

    @app.task(attempts=2, backoff=Backoff(base=0.001))
    async def flaky(how: str) -> int:
        if current().attempt > 1:
            return 3
        if how == "discard":
            raise Discard("no\nuser")
        if how == "retry":
            raise Retry(after=0)
        raise ValueError(how)

    @app.task(attempts=1, timeout=0.05)
    async def late() -> None:
        await asyncio.Event().wait()

    @app.task
    async def hang() -> None:
        hanging.set()
        await asyncio.Event().wait()

    async with app, app.worker(scheduler_interval=0.02):
        tasks = [await flaky.enqueue(how) for how in ("error", "discard", "retry")]
        tasks += [await late.enqueue(), await hang.enqueue()]
        await hanging.wait()
        assert await tasks[-1].cancel(timeout=10)
        for task in tasks:
            await task.wait(timeout=10)
    failed, discarded, again, timed_out, cancelled = (lines(told, task.id) for task in tasks)
    assert failed == ["flaky attempt 1 failed", "flaky attempt 2 succeeded"]
    assert discarded == ["flaky attempt 1 failed"]
    assert again == failed
    assert timed_out == ["late attempt 1 failed"]
    assert cancelled == ["hang attempt 1 cancelled"]
    assert r"s: Discard: no\nuser" in told.text
    assert "s: TimeoutError: " in told.text


async def test_ends_are_not_looked_at_where_nobody_reads_them(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, journal.logger.name)

    def refuse(*_: object) -> None:
        raise AssertionError("it is called")

    monkeypatch.setattr("castwork.worker.runner.tell_end", refuse)

    @app.task
    async def work() -> int:
        return 1

    async with app, app.worker():
        tasks = await work.enqueue_many(() for _ in range(20))
        assert [await task.result(timeout=10) for task in tasks] == [1] * 20
