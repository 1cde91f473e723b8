"""Hooks at the end of tasks: called by a task that follows each end, at least once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AppSettings, Backoff, Discard, TaskDead, TaskState, TaskStatus, current
from castwork.model.errors import DefinitionError


@pytest.fixture
def heard() -> list[TaskStatus]:
    return []


async def test_each_end_is_told_with_what_is_known_of_the_task(
    app: App, heard: list[TaskStatus]
) -> None:
    begun = asyncio.Event()

    @app.task(queue="q", attempts=1)
    async def work(how: str) -> str:
        if how == "failed":
            raise Discard("no such user")
        if how == "dead":
            raise ValueError("broken")
        if how == "cancelled":
            begun.set()
            await asyncio.Event().wait()
        return how.upper()

    @work.on_end
    async def tell(status: TaskStatus) -> None:
        heard.append(status)

    mine = work.options(owner="ann", tenant="acme", labels={"a": "b"})
    async with app, app.worker():
        await (await mine.enqueue("succeeded")).wait(timeout=10)
        await (await work.enqueue("failed")).wait(timeout=10)
        with pytest.raises(TaskDead, match="broken"):
            await (await work.enqueue("dead")).result(timeout=10)
        running = await work.enqueue("cancelled")
        await begun.wait()
        assert await running.cancel()
        await (await work.options(deadline=0.001, delay=0.05).enqueue("expired")).wait(timeout=10)
        await app.queue("q").pause()
        waiting = await work.enqueue("cancelled")
        assert await waiting.cancel()
        await app.queue("q").resume()
        await eventually(lambda: len(heard) == 6)
        assert [letter.task_id for letter in (await app.dead_letters()[0].list())] != []

    by_state = {status.status.value: status for status in heard}
    assert set(by_state) == {"succeeded", "failed", "dead", "cancelled", "expired"}
    for state, status in by_state.items():
        assert status.arguments == {"how": state}
        assert (status.task, status.queue) == ("work", "q")
    first = by_state["succeeded"]
    assert (first.value, first.owner, first.tenant, first.labels) == (
        *("SUCCEEDED", "ann", "acme", {"a": "b"}),
    )
    dead = by_state["dead"].error
    assert dead is not None
    assert (dead.type, dead.message) == ("ValueError", "broken")


async def test_hooks_are_for_some_ends_and_functions(app: App) -> None:
    seen: list[tuple[str, str]] = []

    @app.task(queue="q", attempts=1)
    async def work(fails: bool) -> None:
        if fails:
            raise ValueError

    @app.task(queue="other")
    async def quiet() -> None: ...

    @app.on_end("failed", "dead")
    def alert(status: TaskStatus) -> None:
        seen.append(("alert", status.task))

    @work.on_end("succeeded")
    async def praise(status: TaskStatus) -> None:
        seen.append(("praise", status.task))

    with pytest.raises(DefinitionError, match="no task ends as 'done'"):
        app.on_end("done")  # type: ignore[call-overload]
    async with app, app.worker():
        await (await work.enqueue(False)).wait(timeout=10)
        await (await work.enqueue(True)).wait(timeout=10)
        await (await quiet.enqueue()).wait(timeout=10)
        await eventually(lambda: len(seen) == 2)
        await app.queue("q").until_idle(timeout=10)
    assert sorted(seen) == [("alert", "work"), ("praise", "work")]


async def test_a_hook_that_fails_is_called_again_and_its_task_stays_as_it_ended(
    app: App, heard: list[TaskStatus]
) -> None:
    others: list[str] = []

    @app.task(queue="q")
    async def work() -> int:
        return 1

    @work.on_end
    async def tell(status: TaskStatus) -> None:
        heard.append(status)
        if len(heard) == 1:
            raise OSError("the database is away")

    @work.on_end
    async def other(status: TaskStatus) -> None:
        others.append(status.task_id)

    async with app, app.worker(scheduler_interval=0.02):
        task = await work.enqueue()
        assert await task.result(timeout=10) == 1
        await eventually(lambda: len(heard) == 2, within=20)
        assert others == [task.id] * 2, "at least once"
        assert (await task.status()).status is TaskState.SUCCEEDED


async def test_a_task_whose_workers_are_lost_is_told_too(
    server_url: str, namespace: str, plain: redis.Redis, heard: list[TaskStatus]
) -> None:
    settings = AppSettings(namespace=namespace)
    app = App(server_url, settings=settings)

    @app.task(queue="q", attempts=1)
    async def work() -> None:
        raise AssertionError("it is not run")

    @work.on_end("dead")
    async def tell(status: TaskStatus) -> None:
        heard.append(status)

    async with app:
        task = await work.enqueue()
        [store] = app.served()
        lost = store.claims("host-1-0123abcd")
        await lost.create_groups()
        await lost.claim(1, [0, 0, 0])
        lane = store.place.keys.lanes[1]
        [pending] = plain.xpending_range(lane, "workers", "-", "+", 10)
        plain.xclaim(
            lane, "workers", "host-1-0123abcd", 0, [pending["message_id"]], idle=60_000, justid=True
        )
        async with app.worker(lease=0.5):
            assert (await task.wait(timeout=10)).status is TaskState.DEAD
            await eventually(lambda: len(heard) == 1)
    assert heard[0].task_id == task.id
    assert heard[0].error is not None
    assert heard[0].error.type == "WorkerLost"


async def test_tasks_of_an_adopted_stream_have_hooks(
    app: App, namespace: str, plain: redis.Redis, heard: list[TaskStatus]
) -> None:
    @app.task(stream=f"{namespace}:events", group="g", attempts=2, backoff=Backoff(base=0))
    async def bill(order: int) -> int:
        if current().attempt == 1:
            raise ValueError
        return order

    @bill.on_end
    async def tell(status: TaskStatus) -> None:
        heard.append(status)

    async with app, app.worker(scheduler_interval=0.02):
        plain.xadd(f"{namespace}:events", {"order": 7})
        await eventually(lambda: len(heard) == 1)
    assert (heard[0].value, heard[0].attempts) == (7, 2)


async def test_functions_without_hooks_go_the_usual_way(app: App, heard: list[TaskStatus]) -> None:
    @app.task(queue="q")
    async def work(number: int) -> int:
        return number

    @app.task(queue="q")
    async def other() -> None: ...

    @other.on_end("dead")
    async def tell(status: TaskStatus) -> None:
        heard.append(status)

    async with app, app.worker():
        tasks: list[Any] = [*await work.enqueue_many(range(50)), await other.enqueue()]
        await asyncio.gather(*(task.wait(timeout=10) for task in tasks))
        await app.queue("q").until_idle(timeout=10)
    assert heard == []


async def test_a_purge_leaves_what_tells_of_ends(app: App, heard: list[TaskStatus]) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    @work.on_end("cancelled")
    async def tell(status: TaskStatus) -> None:
        heard.append(status)

    queue = app.queue("q")
    async with app:
        await work.enqueue_many([()] * 5)
        assert await queue.purge() == 5
        assert await queue.purge() == 0
        async with app.worker():
            await eventually(lambda: len(heard) == 5)


async def test_the_ends_of_the_tasks_that_call_hooks_are_told_to_nobody(
    app: App, heard: list[TaskStatus]
) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    @app.on_end
    async def tell(status: TaskStatus) -> None:
        heard.append(status)

    async with app, app.worker():
        await work.enqueue()
        await eventually(lambda: heard)
        await app.queue("q").until_idle(timeout=10)
        info = await app.queue("q").info()
    assert [status.task for status in heard] == ["work"]
    assert (info.scheduled, info.dead) == (0, 0)


async def test_an_end_that_cannot_be_told_is_stored_all_the_same(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(queue="q", attempts=1)
    async def work(fails: bool) -> int:
        if fails:
            raise ValueError("broken")
        return 1

    @work.on_end
    async def tell(status: TaskStatus) -> None: ...

    def fail(_status: TaskStatus) -> bytes:
        raise RecursionError("nested too deep")

    async with app, app.worker():
        monkeypatch.setattr(work.store, "follow_up", fail)
        assert await (await work.enqueue(False)).result(timeout=10) == 1
        with pytest.raises(TaskDead, match="broken"):
            await (await work.enqueue(True)).result(timeout=10)
    assert "is told to no hook" in caplog.text
