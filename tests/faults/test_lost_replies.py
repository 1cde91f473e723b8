"""Workers whose replies never arrive: whatever is sent again happens once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes
from tests.proxy import Proxy

from castwork import TaskFunction

Tasks = Callable[[str], TaskFunction[..., Any]]


async def test_worker_behind_a_lossy_connection_gives_each_task_one_outcome(
    crew: Crew, tasks: Tasks, proxy: Proxy, ledger: Ledger, notes: Notes
) -> None:
    worker = await crew.one(url=proxy.url, lease=2.0, concurrency=10)
    made = await tasks("count").enqueue_many([(n, 0.01) for n in range(200)])
    answers = [await tasks("answer").enqueue(20, 0.01) for _ in range(5)]
    ids = [task.id for task in (*made, *answers)]
    proxy.drop_every = 10
    await eventually(lambda: proxy.dropped >= 30, within=20, what="replies dropped")
    proxy.drop_every = 0
    await eventually(lambda: ledger.states(ids)["succeeded"] == 205, within=20)
    await eventually(ledger.is_empty, within=5)
    assert worker.is_alive
    ledger.assert_conserved(ids, succeeded=205)
    assert set(notes.runs()) == set(ids)
    words = [f"w{n} " for n in range(20)]
    for answer in answers:
        chunks = [chunk async for chunk in answer.chunks()]
        last = max((i for i, c in enumerate(chunks) if c.kind == "reset"), default=-1)
        assert [chunk.data for chunk in chunks[last + 1 :]] == words


async def test_task_claimed_by_a_lost_reply_is_found_at_once(
    crew: Crew, tasks: Tasks, proxy: Proxy, ledger: Ledger, notes: Notes
) -> None:
    await crew.one(url=proxy.url, lease=30.0, block=30.0)
    await eventually(lambda: proxy.waits_for("XREADGROUP"), what="the worker waits for a task")
    proxy.drop_next("XREADGROUP")
    task = await tasks("count").enqueue(1)
    await eventually(lambda: proxy.dropped == 1, what="the reply that brought it is lost")
    assert await task.result(timeout=10) == 2  # far sooner than its lease would run out
    assert notes.runs() == {task.id: 1}
    await eventually(ledger.is_empty, within=5)
    ledger.assert_conserved([task.id], succeeded=1)
