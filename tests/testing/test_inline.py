"""`inline` and `run_task`: tasks without any server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from castwork import (
    App,
    Call,
    Discard,
    Proceed,
    Retry,
    TaskDead,
    TaskFailed,
    TaskState,
    TaskStatus,
    current,
)
from castwork.model.errors import InvalidArguments
from castwork.testing import inline, run_task


@pytest.fixture
def app() -> App:
    return App("redis://127.0.0.1:1", env=None)  # nobody is there


def test_a_thread_enqueues_and_has_its_result(app: App) -> None:
    @app.task
    async def double(number: int) -> int:
        return 2 * number

    @app.task
    def plain(number: int) -> int:
        return double.enqueue_sync(number).result_sync() + 1

    with inline(app) as run:
        task = plain.enqueue_sync(4)
        assert task.result_sync() == 9
        assert task.wait_sync().status is TaskState.SUCCEEDED
        assert [status.task for status in run.tasks()] == ["double", "plain"]
        many = app.enqueue_many_sync(double.call(number) for number in (1, 2))
        assert [one.result_sync() for one in many] == [2, 4]
        with pytest.raises(InvalidArguments):
            double.enqueue_sync("x")  # type: ignore[arg-type]


async def test_a_task_runs_where_it_is_enqueued(app: App) -> None:
    seen: list[Any] = []
    models = app.channel("models", dict, history=10)
    tone = app.setting("tone", str, default="calm")

    @models.subscribe
    async def hear(event: dict[str, Any]) -> None:
        seen.append(event)

    @models.subscribe(group="billing")
    def bill(event: dict[str, Any]) -> None:
        seen.append("billed")

    @app.task
    async def chat(prompt: str) -> AsyncIterator[str]:
        await models.publish({"prompt": prompt})
        await tone.set("loud")
        await current().emit("source", 1)
        yield "a"
        yield current().owner

    @app.around_enqueue
    async def stamp(call: Call[Any], proceed: Proceed) -> Any:
        call.owner = "ann"
        return await proceed()

    with inline(app) as run:
        task = await chat.options(delay=3600, priority="low").enqueue("hi")
        assert await task.result() == "aann"
        assert [item async for item in task.items()] == ["a", "ann"]
        assert [chunk.kind async for chunk in task.chunks()] == ["source", "chunk", "chunk"]
        assert seen == [{"prompt": "hi"}, "billed"]
        assert run.events(models) == [{"prompt": "hi"}]
        assert tone.value == "loud"
        assert not await task.cancel()


def test_attempts_follow_one_another_and_ends_are_told(app: App) -> None:
    seen: list[str] = []
    ended: list[TaskStatus] = []

    @app.task(attempts=3, give_up_on=(KeyError,))
    def work(how: str) -> str:
        attempt = current().attempt
        seen.append(f"{how} {attempt}")
        if how == "retry" and attempt < 3:
            raise Retry(after=3600)
        if how == "discard":
            raise Discard("no")
        if how == "give up":
            raise KeyError("k")
        if how == "dead":
            raise ValueError("broken")
        return "done"

    @work.on_end
    def note(status: TaskStatus) -> None:
        ended.append(status)

    with inline(app):
        assert work.enqueue_sync("retry").result_sync() == "done"
        for how, error in (("discard", TaskFailed), ("give up", TaskDead), ("dead", TaskDead)):
            with pytest.raises(error):
                work.enqueue_sync(how).result_sync()
    assert seen == [
        *("retry 1", "retry 2", "retry 3", "discard 1", "give up 1", "dead 1", "dead 2", "dead 3"),
    ]
    assert [(status.status.value, status.arguments["how"]) for status in ended] == [
        ("succeeded", "retry"),
        ("failed", "discard"),
        ("dead", "give up"),
        ("dead", "dead"),
    ]


def test_ids_and_keys_find_their_first_task(app: App) -> None:
    runs: list[int] = []

    @app.task(key_by="number", key_until="ended")
    def work(number: int) -> int:
        runs.append(number)
        return number

    with inline(app):
        first, second = work.enqueue_sync(1), work.enqueue_sync(1)
        assert (first.created, second.created, second.id) == (True, False, first.id)
        mine = work.options(id="mine")
        assert [mine.enqueue_sync(2).created for _ in range(2)] == [True, False]
    assert runs == [1, 2]


async def test_one_function_has_a_real_context(app: App) -> None:
    @app.task(attempts=3, queue="q")
    async def infer(prompt: str, fails: bool = False) -> str:
        context = current()
        await context.progress(0.5, "half")
        if fails:
            raise ValueError("broken")
        return f"{prompt} {context.attempt} {context.attempts_left} {context.queue}"

    @app.task
    def plain(number: int) -> int:
        current().emit_sync("source", number)
        return number

    @app.task
    async def chat() -> AsyncIterator[int]:
        yield 1
        yield 2

    outcome = await run_task(infer, "hi")
    assert (outcome.status, outcome.result, outcome.error) == (
        *(TaskState.SUCCEEDED, "hi 1 2 q", None),
    )
    assert [chunk.data for chunk in outcome.chunks] == [{"done": 0.5, "message": "half"}]
    failed = await run_task(infer, "hi", fails=True)
    assert failed.status is TaskState.DEAD
    assert isinstance(failed.error, ValueError)
    assert [chunk.kind for chunk in (await run_task(plain, 3)).chunks] == ["source"]
    streamed = await run_task(chat)
    assert streamed.result == [1, 2]
    with pytest.raises(InvalidArguments):
        await run_task(infer, 7)  # type: ignore[arg-type]
