"""Replies that never arrive: whatever is sent again happens once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from tests.faults.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.proxy import Proxy
from tests.faults.sample_app import Notes, build

from castwork import App, TaskFunction

Tasks = Callable[[str], TaskFunction[..., Any]]


@pytest.fixture
async def far(proxy: Proxy, namespace: str) -> AsyncIterator[App]:
    """The sample app on the far side of the proxy."""
    made = build(proxy.url, namespace)
    yield made
    await made.close()


async def test_thousand_enqueues_at_once_make_thousand_tasks(
    far: App, proxy: Proxy, ledger: Ledger
) -> None:
    count = far.tasks.get("count")
    proxy.drop_every = 20
    # With a key each is a call of its own: a thousand calls in one pipeline.
    made = await asyncio.gather(*(count.options(key=f"k{n}").enqueue(n) for n in range(1000)))
    ids = [task.id for task in made]
    assert proxy.dropped >= 50
    assert ledger.entries() == 1000
    assert ledger.states(ids) == {"queued": 1000}
    assert _ids_in(ledger) == set(ids)


async def test_thousand_enqueues_that_gather_make_thousand_tasks(
    far: App, proxy: Proxy, ledger: Ledger
) -> None:
    count = far.tasks.get("count")
    proxy.drop_every = 3
    ids = []
    for at in range(0, 1000, 20):
        made = await asyncio.gather(*(count.enqueue(n) for n in range(at, at + 20)))
        ids += [task.id for task in made]
    assert proxy.dropped >= 20
    assert ledger.entries() == 1000
    assert ledger.states(ids) == {"queued": 1000}
    assert _ids_in(ledger) == set(ids)


async def test_thousand_enqueues_in_turn_make_thousand_tasks(
    far: App, proxy: Proxy, ledger: Ledger
) -> None:
    count = far.tasks.get("count")
    proxy.drop_every = 20
    ids = [(await count.enqueue(n)).id for n in range(1000)]
    assert proxy.dropped >= 50
    assert ledger.entries() == 1000
    assert ledger.states(ids) == {"queued": 1000}


async def test_thousand_enqueues_in_groups_make_thousand_tasks(
    far: App, proxy: Proxy, ledger: Ledger
) -> None:
    count = far.tasks.get("count")
    proxy.drop_every = 2
    made = [await count.enqueue_many(range(at, at + 50)) for at in range(0, 1000, 50)]
    ids = [task.id for group in made for task in group]
    assert proxy.dropped >= 20
    assert ledger.entries() == 1000
    assert ledger.states(ids) == {"queued": 1000}
    assert _ids_in(ledger) == set(ids)


def _ids_in(ledger: Ledger) -> set[str]:
    """The task ids of all entries."""
    streams = ledger.streams
    return {fields[b"id"].decode() for s in streams for _, fields in ledger.client.xrange(s)}


async def test_events_are_published_once_each(
    far: App, proxy: Proxy, plain: redis.Redis, namespace: str
) -> None:
    news = far.channels["news"]
    proxy.drop_every = 5
    for number in range(100):
        await news.publish(number)
    assert proxy.dropped >= 20
    stored = plain.xrange(f"{{{namespace}:news}}:history")
    assert [int(fields[b"event"]) for _, fields in stored] == list(range(100))


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
    await crew.one(url=proxy.url, lease=30.0)
    proxy.drop_every = 1  # the next reply of any connection: that of the blocked read
    task = await tasks("count").enqueue(1)
    await eventually(lambda: ledger.pending() == 1)
    proxy.drop_every = 0
    assert await task.result(timeout=10) == 2  # far sooner than its lease would run out
    assert notes.runs() == {task.id: 1}
    await eventually(ledger.is_empty, within=5)
    ledger.assert_conserved([task.id], succeeded=1)
