"""What the status of a step shows of the steps before it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.eventually import eventually

from castwork import App, StepStatus, Task, TaskStatus, all_of
from castwork.gateway.task_events import public_status


class Program:
    """Task functions that wait until they are let go."""

    def __init__(self, app: App) -> None:
        self.go = asyncio.Event()

        @app.task(attempts=1)
        async def split(text: str) -> list[str]:
            return text.split()

        @app.task(queue="gpu", attempts=1)
        async def embed(word: str) -> int:
            if word == "slow":
                await self.go.wait()
            if word == "bad":
                raise ValueError("no word")
            return len(word)

        @app.task(queue="db")
        async def total(numbers: list[int]) -> int:
            return sum(numbers)

        @app.task
        async def alert(status: TaskStatus) -> int:
            return -1

        self.split, self.embed, self.total, self.alert = split, embed, total, alert


@pytest.fixture
def program(app: App) -> Program:
    return Program(app)


async def steps_of(task: Task[Any]) -> list[str]:
    return [as_text(step) for step in (await task.status()).steps]


def as_text(step: StepStatus) -> str:
    assert bool(step.task_id) == (step.task != "embed" or step.count == 1)
    return f"{step.queue}/{step.task} {step.status} {step.ended}/{step.count}"


async def test_the_last_step_shows_those_before_it(app: App, program: Program) -> None:
    async with app:
        flow = program.split.call("a slow bb").then_each(program.embed).then(program.total)
        task = await flow.enqueue()
        assert await steps_of(task) == [
            "default/split queued 0/1",
            "gpu/embed scheduled 0/0",
        ]
        async with app.worker():
            await eventually(lambda: shows(task, "gpu/embed running 2/3"))
            program.go.set()
            assert await task.result(timeout=20) == 7
            assert await steps_of(task) == [
                "default/split succeeded 1/1",
                "gpu/embed succeeded 3/3",
            ]
            status = await task.status()
            assert public_status(status).steps == [], "tasks that may be other owners'"


async def shows(task: Task[Any], step: str) -> bool:
    return step in await steps_of(task)


async def test_steps_are_in_the_order_in_which_they_run(app: App, program: Program) -> None:
    several = all_of(program.embed.options(id=f"e{n}").call("a" * n) for n in range(3))
    async with app, app.worker():
        task = await several.then(program.total).then(program.alert).enqueue()  # type: ignore[arg-type]
        status = await task.status()
        assert [step.task_id for step in status.steps[:3]] == ["gpu:e0", "gpu:e1", "gpu:e2"]
        assert [step.task for step in status.steps[3:]] == ["total"]


async def test_a_failure_shows_with_its_answer(app: App, program: Program) -> None:
    flow = program.split.call("a bad").then_each(program.embed).then(program.total)
    async with app.worker():
        task = await flow.enqueue()
        await task.wait(timeout=20)
        shown = await steps_of(task)
        assert shown[0] == "default/split succeeded 1/1"
        assert shown[1].startswith("gpu/embed failed ")

        answered = await flow.on_failure(program.alert).enqueue()
        assert await answered.result(timeout=20) == -1
        shown = await steps_of(answered)
        assert shown[1].startswith("gpu/embed failed ")
        assert shown[2:] == ["db/total failed 1/1", "default/alert succeeded 1/1"]


async def test_of_very_many_the_nearest_are_shown(app: App, program: Program) -> None:
    async with app:
        task = await all_of(program.embed.call("a") for _ in range(130)).enqueue()
        assert len((await task.status()).steps) == 100


async def test_a_task_outside_of_flows_has_no_steps(app: App, program: Program) -> None:
    async with app.worker():
        task = await program.embed.enqueue("a")
        assert await task.result(timeout=20) == 1
        assert (await task.status()).steps == []
