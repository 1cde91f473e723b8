"""Workers that are killed with places of limits: no more run than may, and no place stays taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import App, TaskFunction
from castwork.model.queue import Queue

Tasks = Callable[[str], TaskFunction[..., Any]]


async def test_places_of_killed_workers_come_back_and_are_never_given_twice(
    crew: Crew, sample: App, tasks: Tasks, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    limited = tasks("limited")
    workers = [await crew.one(["limited"], concurrency=5) for _ in range(2)]
    made = [await limited.enqueue(f"d{n % 3}", 0.05) for n in range(30)]
    for _ in range(3):
        runs = len(notes.runs())
        await eventually(lambda runs=runs: len(notes.runs()) > runs + 1, what="some have run")
        workers.pop(0).kill()
        workers.append(await crew.one(["limited"], concurrency=5))
    for task in made:
        await task.result(timeout=30)
    together = notes.read("together")
    assert max(count for count, _ in together) <= 2
    assert max(count for _, count in together) == 1
    await nothing_stays(plain, namespace)
    assert (await sample.queue("limited").info()).depth == 0


async def test_lines_of_killed_workers_go_on_in_their_order(
    crew: Crew, tasks: Tasks, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    serial = tasks("serial")
    workers = [await crew.one(["limited"], concurrency=5) for _ in range(2)]
    made = [await serial.enqueue(f"d{n % 2}", n, 0.05) for n in range(24)]
    for _ in range(3):
        ended = len(notes.read("ended"))
        await eventually(lambda ended=ended: len(notes.read("ended")) > ended + 1, what="some end")
        workers.pop(0).kill()
        workers.append(await crew.one(["limited"], concurrency=5))
    for task in made:
        await task.result(timeout=30)
    ended = notes.read("ended")
    for doc in ("d0", "d1"):
        numbers = [number for other, number in ended if other == doc]
        # A worker that was killed behind the note and before the outcome has made a second one.
        assert list(dict.fromkeys(numbers)) == [n for n in range(24) if doc == f"d{n % 2}"]
        assert numbers == sorted(numbers)
    assert max(count for _, count in notes.read("together")) == 1
    await nothing_stays(plain, namespace)


async def nothing_stays(plain: redis.Redis, namespace: str) -> None:
    keys = Ledger(plain, namespace, Queue("limited")).keys
    names = [name for name in keys.limits if ":limits:" in name]
    await eventually(lambda: not plain.exists(*names), what="nothing stays behind")
