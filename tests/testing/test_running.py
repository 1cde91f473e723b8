"""`running`: an app of users on a private server, with a worker in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.eventually import eventually

from castwork import App, Backoff, Every, TaskState, TaskStatus, current
from castwork.testing import running


@pytest.fixture
def app() -> App:
    return App("redis://127.0.0.1:1")  # nobody is there


async def test_a_task_runs_and_what_was_done_is_seen(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTWORK_URL", "redis://127.0.0.1:2")
    models = app.channel("models", str, history=10)
    plain = app.channel("plain", int)

    @app.task
    async def infer(prompt: str) -> str:
        await models.publish(prompt)
        return prompt.upper()

    @app.task(queue="other")
    def other() -> None:
        plain.publish_sync(7)

    for _ in range(2):
        async with running(app) as run:
            task = await infer.enqueue("hi")
            assert await task.result(timeout=5) == "HI"
            await asyncio.to_thread(other.enqueue_sync)
            await run.until_idle()
            assert run.events(models) == ["hi"]
            assert run.events(plain) == [7]
            assert [status.status for status in run.tasks(infer)] == ["succeeded"]
            assert [status.task for status in run.tasks()] == ["infer", "other"]
    assert app.url == "redis://127.0.0.1:2"


async def test_time_passes_for_what_waits(app: App) -> None:
    seen: list[str] = []

    @app.task(backoff=Backoff(base=600, factor=1), attempts=2)
    async def flaky() -> None:
        seen.append(f"flaky {current().attempt}")
        if current().attempt == 1:
            raise ValueError

    @app.task
    async def late() -> None:
        seen.append("late")

    @app.task
    async def often() -> None:
        seen.append("often")

    async with running(app) as run:
        await late.options(delay=3600).enqueue()
        await flaky.enqueue()
        await often.call().schedule("s", Every(7200))
        await run.until_idle()
        assert seen == ["flaky 1"]
        await run.advance(601)
        await eventually(lambda: seen == ["flaky 1", "flaky 2"])
        await run.advance(3600)
        await eventually(lambda: "late" in seen)
        await run.advance(7200)
        await eventually(lambda: "often" in seen)
        await run.until_idle()


async def test_records_and_keys_end_when_time_passes(app: App) -> None:
    @app.task(result_ttl=600)
    async def work() -> None: ...

    async with running(app) as run:
        first = await work.options(key="k", key_ttl=1000).enqueue()
        await first.result(timeout=5)
        await run.advance(900)
        assert not (await work.options(key="k", key_ttl=1000).enqueue()).created
        await run.advance(200)
        assert (await work.options(key="k", key_ttl=1000).enqueue()).created


async def test_a_lost_worker_has_its_tasks_come_back_after_its_lease(app: App) -> None:
    runs: list[int] = []
    ended: list[TaskStatus] = []

    @app.task
    async def work() -> str:
        runs.append(current().attempt)
        if len(runs) == 1:
            await asyncio.Event().wait()
        return "done"

    @app.on_end
    async def note(status: TaskStatus) -> None:
        ended.append(status)

    async with running(app) as run:
        task = await work.enqueue()
        await eventually(lambda: runs == [1])
        await run.lose_worker()
        assert (await task.status()).status is not TaskState.SUCCEEDED
        await run.advance(16)
        assert await task.result(timeout=20) == "done"
        await eventually(lambda: len(ended) == 1)
    assert runs == [1, 2]


async def test_a_resource_is_faked(app: App) -> None:
    @app.resource
    async def client() -> AsyncIterator[str]:
        raise AssertionError("the real one")
        yield "real"

    @app.task
    async def use() -> str:
        return client.value

    with client.override("fake"):
        async with running(app):
            assert await (await use.enqueue()).result(timeout=5) == "fake"
