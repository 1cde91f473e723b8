"""Workers that are killed in the midst of flows: each flow ends, and each step took all results."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import App, Flow, TaskFunction, all_of

Tasks = Callable[[str], TaskFunction[..., Any]]

QUEUES = ["steps", "parts", "answers"]


def flow_of(tasks: Tasks, kind: int, flow: int, count: int) -> tuple[Flow[Any], list[int | None]]:
    """A flow of one of four kinds, and the result that it has to have."""
    spread, part, odd, join = (tasks(name) for name in ("spread", "part", "odd", "join"))
    numbers: list[int | None] = list(range(count))
    if kind == 0:
        return spread.call(flow, count).then_each(part).then(join, flow), numbers
    bad = flow % count
    if kind == 1:
        each = spread.call(flow, count).then_each(odd, bad)
        numbers[bad] = None
        return each.keep_going().then(join, flow), numbers
    if kind == 2:
        each = spread.call(flow, count).then_each(odd, bad)
        return each.then(join, flow).on_failure(tasks("rescue"), flow), [-1]
    return all_of(part.call([flow, number]) for number in range(count)).then(join, flow), numbers


async def nothing_is_left(sample: App, plain: redis.Redis, namespace: str) -> None:
    """No task waits, nothing is parked, and all that was kept for a step goes by itself."""
    for queue in QUEUES:
        await sample.queue(queue).until_idle(timeout=60)
    for part in ("arrived:*", "parked", "due", "moved"):
        names = f"*{namespace}*:{part}"
        await eventually(lambda names=names: not list(plain.scan_iter(names)), what=names)

    def lasting() -> list[bytes]:
        return [key for key in plain.scan_iter(f"*{namespace}*:task:*") if plain.ttl(key) == -1]

    await eventually(lambda: not lasting(), what="all records have a time to live")


async def test_flows_go_on_whichever_worker_is_killed(
    crew: Crew, sample: App, tasks: Tasks, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    workers = [await crew.one(QUEUES, concurrency=5) for _ in range(2)]
    flows = [flow_of(tasks, number % 4, number, 10) for number in range(24)]
    made = [(await flow.enqueue(), due) for flow, due in flows]
    for _ in range(3):
        runs = len(notes.runs())
        await eventually(lambda runs=runs: len(notes.runs()) > runs + 10, what="some have run")
        workers.pop(0).kill()
        workers.append(await crew.one(QUEUES, concurrency=5))
    for task, due in made:
        assert await task.result(timeout=60) == due
    answered = notes.read("answered")
    assert {flow for flow, _, _ in answered} == set(range(2, 24, 4))
    assert {(task, status) for _, task, status in answered} == {("odd", "failed")}
    await nothing_is_left(sample, plain, namespace)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_many_flows_of_all_kinds_under_workers_that_are_killed_all_the_time(
    crew: Crew, sample: App, tasks: Tasks, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    dice = random.Random(11)
    workers = [await crew.one(QUEUES, concurrency=20) for _ in range(3)]
    ended, kills = asyncio.Event(), 0

    async def kill() -> None:
        nonlocal kills
        while not ended.is_set():
            runs = sum(notes.runs().values())
            wanted = dice.randrange(50, 400)
            await eventually(
                lambda runs=runs, wanted=wanted: (
                    ended.is_set() or sum(notes.runs().values()) > runs + wanted
                ),
                within=120,
                what="tasks run",
            )
            workers.pop(dice.randrange(3)).kill()
            kills += 1
            workers.append(await crew.one(QUEUES, concurrency=20))

    killing = asyncio.create_task(kill())
    flows = [flow_of(tasks, number % 4, number, dice.randrange(1, 40)) for number in range(2000)]
    for start in range(0, len(flows), 100):
        some = flows[start : start + 100]
        made = await asyncio.gather(*(flow.enqueue() for flow, _ in some))
        for task, (_, due) in zip(made, some, strict=True):
            assert await task.result(timeout=120) == due
    ended.set()
    await killing
    assert kills > 20
    answered = notes.read("answered")
    assert {flow for flow, _, _ in answered} == set(range(2, 2000, 4))
    assert {(task, status) for _, task, status in answered} == {("odd", "failed")}
    await nothing_is_left(sample, plain, namespace)
