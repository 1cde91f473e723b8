"""Workers that are killed in the midst of flows: each flow ends, and each step took all results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from tests.eventually import eventually
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import App, TaskFunction

Tasks = Callable[[str], TaskFunction[..., Any]]

QUEUES = ["steps", "parts"]


async def test_flows_go_on_whichever_worker_is_killed(
    crew: Crew, sample: App, tasks: Tasks, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    spread, part, join = tasks("spread"), tasks("part"), tasks("join")
    workers = [await crew.one(QUEUES, concurrency=5) for _ in range(2)]
    made = [
        await spread.call(flow, 12).then_each(part).then(join, flow).enqueue() for flow in range(10)
    ]
    for _ in range(3):
        runs = len(notes.runs())
        await eventually(lambda runs=runs: len(notes.runs()) > runs + 10, what="some have run")
        workers.pop(0).kill()
        workers.append(await crew.one(QUEUES, concurrency=5))
    for task in made:
        assert await task.result(timeout=60) == list(range(12))
    joined = notes.read("joined")
    assert {flow for flow, _ in joined} == set(range(10))
    assert all(numbers == list(range(12)) for _, numbers in joined)
    for queue in QUEUES:
        await sample.queue(queue).until_idle(timeout=30)
    arrived = f"*{namespace}*:arrived:*"
    await eventually(lambda: not list(plain.scan_iter(arrived)), what="nothing stays behind")
