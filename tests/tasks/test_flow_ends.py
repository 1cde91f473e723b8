"""Flows that answer failures, and flows that end with lists."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.eventually import eventually

from castwork import (
    App,
    Call,
    Task,
    TaskCancelled,
    TaskDead,
    TaskFailed,
    TaskState,
    TaskStatus,
    all_of,
    current,
)
from castwork.testing import inline


class Program:
    """Task functions that count their runs."""

    def __init__(self, app: App) -> None:
        self.seen: list[Any] = []
        self.go = asyncio.Event()
        self.go.set()

        @app.task(attempts=1)
        async def split(text: str) -> list[str]:
            await self.go.wait()
            if text == "bad":
                raise ValueError("no text")
            return text.split()

        @app.task(queue="gpu", attempts=1)
        async def embed(word: str) -> int:
            if word == "bad":
                raise ValueError("no word")
            return len(word)

        @app.task(queue="db", attempts=1)
        async def total(numbers: list[int]) -> int:
            return sum(numbers)

        @app.task(queue="alerts", attempts=1)
        async def alert(status: TaskStatus, name: str) -> int:
            self.seen.append((status.task, status.status, name))
            if name == "worse":
                raise ValueError("no alert")
            return -1

        @app.task
        async def text_of(number: int) -> str:
            return f"<{number}>"

        @app.task(queue="alerts")
        async def no_words(status: TaskStatus) -> list[str]:
            return ["none", "at", "all"]

        self.split, self.embed, self.total = split, embed, total
        self.alert, self.text_of, self.no_words = alert, text_of, no_words


@pytest.fixture
def program(app: App) -> Program:
    return Program(app)


async def test_a_failure_is_answered_and_the_answer_goes_on(app: App, program: Program) -> None:
    each = program.split.call("a bad").then_each(program.embed).then(program.total)
    flow = each.on_failure(program.alert, "doc-7").then(program.text_of)
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=20) == "<-1>"
        assert program.seen == [("embed", TaskState.DEAD, "doc-7")]


async def test_without_a_failure_nobody_is_called(app: App, program: Program) -> None:
    each = program.split.call("a bb").then_each(program.embed).then(program.total)
    async with app.worker():
        task = await each.on_failure(program.alert, "doc-7").enqueue()
        assert await task.result(timeout=20) == 3
        assert task.queue == "db"
        assert program.seen == []


async def test_the_answer_to_a_failure_may_be_the_end(app: App, program: Program) -> None:
    async with app.worker():
        task = await program.embed.call("bad").on_failure(program.alert, "last").enqueue()
        assert await task.result(timeout=20) == -1
        assert (await task.status()).status is TaskState.SUCCEEDED


async def test_several_failures_are_answered_once(app: App, program: Program) -> None:
    flow = all_of(program.embed.call("bad") for _ in range(20)).on_failure(program.alert, "many")
    async with app.worker():
        assert await (await flow.then(program.text_of).enqueue()).result(timeout=20) == "<-1>"  # type: ignore[arg-type]
        assert len(program.seen) == 1


async def test_an_answer_that_fails_fails_what_follows(app: App, program: Program) -> None:
    flow = program.embed.call("bad").on_failure(program.alert, "worse").then(program.text_of)
    async with app.worker():
        with pytest.raises(TaskFailed, match=r"step alert .* is dead: ValueError: no alert"):
            await (await flow.enqueue()).result(timeout=20)
        assert len(program.seen) == 1


async def test_failures_are_answered_by_the_nearest(app: App, program: Program) -> None:
    inner = program.embed.call("bad").on_failure(program.alert, "worse")
    flow = inner.then(program.text_of).on_failure(program.alert, "outer")
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=20) == -1
        assert program.seen == [
            ("embed", TaskState.DEAD, "worse"),
            ("alert", TaskState.DEAD, "outer"),
        ]


async def test_items_may_come_from_an_answer(app: App, program: Program) -> None:
    flow = program.split.call("bad").on_failure(program.no_words).then_each(program.embed)
    async with app.worker():
        assert await (await flow.then(program.total).enqueue()).result(timeout=20) == 9


async def test_a_cancel_is_no_failure(app: App, program: Program) -> None:
    first = program.split.options(id="first").call("a")
    flow = first.then_each(program.embed).then(program.total).on_failure(program.alert, "cancel")
    program.go.clear()
    async with app.worker():
        task = await flow.enqueue()
        assert await program.split.task(id="first").cancel(timeout=20)
        with pytest.raises(TaskFailed, match="step split .* was cancelled"):
            await task.result(timeout=20)
    assert program.seen == []


async def test_a_cancel_of_the_end_cancels_what_has_not_run(app: App, program: Program) -> None:
    first = program.split.options(id="first").call("a")
    flow = first.then_each(program.embed).on_failure(program.alert, "cancel")
    async with app, app.worker(["gpu"]):  # nobody serves the first step
        task = await flow.enqueue()
        assert await task.cancel()
        with pytest.raises(TaskCancelled):
            await program.split.task(id="first").result(timeout=20)


async def test_a_flow_may_end_with_the_list_of_its_items(app: App, program: Program) -> None:
    flow = program.split.call("a bad ccc").then_each(program.embed)
    async with app.worker():
        task = await flow.keep_going().enqueue()
        assert await task.result(timeout=20) == [1, None, 3]
        failed = await flow.enqueue()
        with pytest.raises(TaskFailed, match="step embed"):
            await failed.result(timeout=20)


async def test_a_flow_may_end_with_flows_side_by_side(app: App, program: Program) -> None:
    async with app.worker():
        pair = await all_of(program.embed.call("a"), program.split.call("b c")).enqueue()
        assert await pair.result(timeout=20) == (1, ["b", "c"])
        each = [program.split.call(text).then_each(program.embed) for text in ("a bb", "", "ccc")]
        assert await (await all_of(each).enqueue()).result(timeout=20) == [[1, 2], [], [3]]


async def test_each_item_of_a_list_of_results_may_have_a_task(app: App, program: Program) -> None:
    flow = program.split.call("a bb").then_each(program.embed).then_each(program.text_of)
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=20) == ["<1>", "<2>"]


async def test_the_end_belongs_to_whom_the_steps_belong_to(app: App, program: Program) -> None:
    seen: list[str] = []

    @app.around_enqueue
    async def stamp(call: Call[Any], proceed: Any) -> Any:
        seen.append(call.owner)
        return await proceed()

    async with app:
        embed = program.embed.options(owner="ada")
        task = await program.split.call("a").then_each(embed).enqueue()
        assert (await task.status()).owner == "ada"
        assert sorted(seen) == ["", "ada"]


async def test_options_and_inheritance_hold_for_items_and_answers(
    app: App, program: Program
) -> None:
    seen: dict[str, list[Any]] = {"look": [], "answer": []}

    def note(kind: str) -> None:
        context = current()
        assert context.time_left is not None
        in_time = 0 < context.time_left <= 50
        facts = context.owner, context.tenant, dict(context.labels), dict(context.headers)
        seen[kind].append((*facts, in_time))

    @app.task(queue="gpu", attempts=1)
    async def look(word: str) -> int:
        note("look")
        raise ValueError(word)

    @app.task(queue="gpu")
    async def answer(status: TaskStatus) -> list[int]:
        note("answer")
        return []

    look_here = look.options(labels={"a": "b"}, headers={"h": "1"}, deadline=50)
    flow = program.split.options(owner="ada", tenant="acme").call("a").then_each(look_here)

    @app.task
    async def parent() -> None:
        await flow.on_failure(answer.options(tenant="other", deadline=90)).enqueue()

    async with app.worker():
        await parent.options(headers={"p": "2"}, deadline=50).enqueue()
        await eventually(lambda: seen["answer"])
    assert seen["look"] == [("ada", "acme", {"a": "b"}, {"h": "1", "p": "2"}, True)]
    assert seen["answer"] == [("ada", "other", {}, {"p": "2"}, True)]


async def test_ends_of_flows_run_through_without_a_server(app: App, program: Program) -> None:
    with inline(app):
        each = program.split.call("a bad").then_each(program.embed)
        answered: Task[Any] = await each.on_failure(program.alert, "x").enqueue()
        assert await answered.result() == -1
        assert program.seen == [("embed", TaskState.DEAD, "x")]
        assert await (await each.keep_going().enqueue()).result() == [1, None]
        pair = await all_of(program.embed.call("a"), program.split.call("b")).enqueue()
        assert await pair.result() == (1, ["b"])
        worse = await program.embed.call("bad").on_failure(program.alert, "worse").enqueue()
        with pytest.raises(TaskDead, match="no alert"):
            await worse.result()
