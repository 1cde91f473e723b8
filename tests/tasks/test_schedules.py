"""Schedules: tasks that run again and again, each run once in the fleet."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AppSettings, Cron, Every, current
from castwork.model.errors import DefinitionError
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys

OFTEN = Every(1, missed="all")


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    return QueueKeys.of(namespace, Queue("q"))


def make_due(plain: redis.Redis, keys: QueueKeys, name: str, *, ago: float = 1.0) -> int:
    """Let the schedule's next run be due; its milliseconds."""
    at_ms = int((time.time() - ago) * 1000)
    plain.zadd(keys.ticks, {name: at_ms})
    return at_ms


async def test_what_the_code_declares_runs_by_itself_and_once_in_the_fleet(
    server_url: str, namespace: str
) -> None:
    runs: list[str] = []
    apps = [App(server_url, settings=AppSettings(namespace=namespace)) for _ in range(3)]
    for app in apps:

        @app.task(queue="q", schedule=OFTEN, priority="high")
        async def tick(number: int = 7) -> None:
            runs.append(current().task_id)

    first, second, third = apps
    async with first, second, third, first.worker(), second.worker(), third.worker():
        await eventually(lambda: len(runs) >= 3, within=20)
        [schedule] = await first.schedules()
    assert (schedule.id, schedule.queue, schedule.task) == ("tick", "q", "tick")
    assert schedule.is_declared
    assert len(set(runs)) == len(runs)
    moments = [int(run.rpartition(".")[2]) for run in runs]
    assert all(one.startswith("q:tick.") for one in runs)
    assert sorted(moments) == list(range(min(moments), max(moments) + 1, 1000))


async def test_a_row_of_a_database_becomes_a_schedule(
    app: App, plain: redis.Redis, keys: QueueKeys
) -> None:
    seen: list[Any] = []

    @app.task(queue="q")
    async def report(customer: str, pages: int = 1) -> None:
        seen.append((customer, pages, current().owner, current().labels))

    call = report.options(owner="ann", labels={"a": "b"}, priority="low").call("acme", pages=3)
    async with app, app.worker():
        made = await call.schedule("report-7", Cron("0 8 * * 1", timezone="UTC"))
        assert made.at is not None
        assert made.at > time.time()
        at_ms = make_due(plain, keys, "report-7")
        await eventually(lambda: seen == [("acme", 3, "ann", {"a": "b"})])
        assert await app.get_task(f"q:report-7.{at_ms}").result(timeout=10) is None
        [found] = await app.schedules()
        assert (found.id, found.when, found.at, found.is_declared) == (
            *("report-7", made.when, made.at, False),
        )

        # The same id again changes what it runs, and when.
        await asyncio.to_thread(report.call("other").schedule_sync, "report-7", Every(3600))
        [found] = await app.schedules()
        assert found.when == Every(3600)
        make_due(plain, keys, "report-7")
        await eventually(lambda: seen[1:] == [("other", 1, "", {})])


async def test_a_schedule_is_paused_resumed_run_now_and_removed(
    app: App, plain: redis.Redis, keys: QueueKeys
) -> None:
    seen: list[int] = []

    @app.task(queue="q")
    async def work(number: int) -> int:
        seen.append(number)
        return number

    async with app, app.worker():
        schedule = await work.call(1).schedule("s", Every(3600))
        task = await schedule.run_now()
        assert await task.result(timeout=10) == 1
        await schedule.pause()
        await work.call(2).schedule("s", Every(1))  # stays paused, though changed
        [found] = await app.schedules()
        assert found.is_paused
        assert found.when == Every(1)
        await found.resume()
        assert not found.is_paused
        await eventually(lambda: 2 in seen, within=10)
        assert await found.remove() is True
        assert await found.remove() is False
        assert await app.schedules() == []
        assert plain.exists(keys.schedules, keys.ticks) == 0


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("once", 1), ("all", 4)])
async def test_runs_that_nobody_was_there_for_are_as_the_policy_says(
    app: App, plain: redis.Redis, keys: QueueKeys, missed: Any, runs: int
) -> None:
    seen: list[str] = []

    @app.task(queue="q")
    async def work() -> None:
        seen.append(current().task_id)

    async with app:
        await work.call().schedule("s", Every(1000, missed=missed))
        begin = (int(time.time()) // 1000 - 3) * 1000
        plain.zadd(keys.ticks, {"s": begin * 1000})
        async with app.worker():
            await eventually(lambda: (plain.zscore(keys.ticks, "s") or 0) > time.time() * 1000)
            await app.queue("q").until_idle(timeout=10)
    assert len(seen) == runs


async def test_a_schedule_that_no_code_declares_any_more_is_dropped(
    server_url: str, namespace: str, plain: redis.Redis, keys: QueueKeys
) -> None:
    old = App(server_url, settings=AppSettings(namespace=namespace))
    new = App(server_url, settings=AppSettings(namespace=namespace))

    @old.task(queue="q", schedule=Every(3600))
    async def gone() -> None: ...

    @new.task(queue="q")
    async def other() -> None: ...

    async with old, new:
        async with old.worker():
            await eventually(lambda: plain.hexists(keys.schedules, "gone"))
        async with new.worker(unknown_grace=0):
            kept = plain.hget(keys.schedules, "gone")
            assert kept is not None
            long_ago = kept.replace(b'"declared":17', b'"declared":16')  # a hundred days before
            plain.hset(keys.schedules, "gone", long_ago)
            make_due(plain, keys, "gone")
            await eventually(lambda: not plain.hexists(keys.schedules, "gone"))
            assert (await new.queues())[0].depth == 0


async def test_the_worker_that_started_last_says_when(
    server_url: str, namespace: str, plain: redis.Redis, keys: QueueKeys
) -> None:
    apps = []
    for seconds in (3600, 7200):
        app = App(server_url, settings=AppSettings(namespace=namespace))

        @app.task(queue="q", name="nightly", schedule=Every(seconds))
        async def nightly() -> None: ...

        apps.append(app)
    old, new = apps

    async def times() -> Any:
        found = await old.schedules()
        return [one.when for one in found]

    async with old, new, old.worker() as older:
        await eventually(lambda: plain.hexists(keys.schedules, "nightly"))
        assert await times() == [Every(3600)]
        async with new.worker():
            await eventually(lambda: b"7200" in (plain.hget(keys.schedules, "nightly") or b""))
            for queue in older._queues:
                await queue.ticker._say()
            assert await times() == [Every(7200)]


async def test_garbage_among_schedules_stops_no_other(
    app: App, plain: redis.Redis, keys: QueueKeys, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    @app.task(queue="q")
    async def work() -> None:
        seen.append(1)

    async with app, app.worker():
        for name, value in {"a": b"", "b": b"{}\n{}", "c": b"\xff\n\xff", "\xe9": b"x"}.items():
            plain.hset(keys.schedules, name, value)
            plain.zadd(keys.ticks, {name: 1})
        plain.zadd(keys.ticks, {"ghost": 1})
        for number in range(25):  # more than one look brings
            lane = b'{"type":"every","seconds":1}\n{"task":"work","args":"{}","lane":"urgent"}'
            plain.hset(keys.schedules, f"lane-{number}", lane)
            plain.zadd(keys.ticks, {f"lane-{number}": 1})
        await work.call().schedule("fine", Every(3600))
        make_due(plain, keys, "fine")
        await eventually(lambda: seen == [1])
        assert [one.id for one in await app.schedules()] == ["fine"]
    assert "schedule a is left out" in caplog.text


@pytest.mark.parametrize(
    ("options", "name", "said"),
    [
        ({}, "a b", "not a task id"),
        ({}, "x" * 120, "not a task id"),
        ({"id": "mine"}, "s", "leave out id"),
        ({"key": "k"}, "s", "leave out id"),
        ({"delay": 5}, "s", "leave out id"),
    ],
)
async def test_what_cannot_be_scheduled_is_refused(
    app: App, options: Any, name: str, said: str
) -> None:
    @app.task(queue="q")
    async def work(number: int) -> None: ...

    with pytest.raises(DefinitionError, match=said):
        await work.options(**options).call(1).schedule(name, Every(60))
    with pytest.raises(DefinitionError, match="neither a Cron nor an Every"):
        await work.call(1).schedule("s", 60)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="give defaults to number"):
        app.task(name="other", schedule=Every(60))(work.function)
