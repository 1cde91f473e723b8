"""Enqueues whose replies never arrive: each is sent again, and makes one task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.faults.ledger import Ledger
from tests.proxy import Proxy

from castwork import App, AppSettings, Backoff, LinkSettings, TaskFunction
from castwork.model.queue import Queue

Count = TaskFunction[[int], int]


@pytest.fixture
async def count(proxy: Proxy, namespace: str) -> AsyncIterator[Count]:
    """A task function whose producer is on the far side of the proxy."""
    link = LinkSettings(call_timeout=30.0, backoff=Backoff(base=0.02, longest=0.2))
    app = App(proxy.url, settings=AppSettings(namespace=namespace, link=link))

    @app.task(queue="work")
    async def count(number: int) -> int:
        return number

    yield count
    await app.close()


@pytest.fixture
def ledger(plain: redis.Redis, namespace: str) -> Ledger:
    return Ledger(plain, namespace, Queue("work"))


def assert_each_is_there_once(ledger: Ledger, ids: list[str]) -> None:
    assert len(set(ids)) == 1000
    assert ledger.entries() == 1000
    assert ledger.states(ids) == {"queued": 1000}


async def test_thousand_enqueues_at_once_make_thousand_tasks(
    count: Count, proxy: Proxy, ledger: Ledger
) -> None:
    proxy.drop_every = 2
    made = await asyncio.gather(*(count.enqueue(n) for n in range(1000)))
    assert proxy.dropped >= 2
    assert_each_is_there_once(ledger, [task.id for task in made])


async def test_thousand_enqueues_with_keys_make_thousand_tasks(
    count: Count, proxy: Proxy, ledger: Ledger
) -> None:
    proxy.drop_every = 3
    ids = []
    for at in range(0, 1000, 20):
        named = (count.options(key=f"k{n}").enqueue(n) for n in range(at, at + 20))
        made = await asyncio.gather(*named)
        assert all(task.created for task in made)
        ids += [task.id for task in made]
    assert proxy.dropped >= 20
    assert_each_is_there_once(ledger, ids)
    assert ledger.left().moved == 1000


async def test_thousand_enqueues_that_gather_make_thousand_tasks(
    count: Count, proxy: Proxy, ledger: Ledger
) -> None:
    proxy.drop_every = 3
    ids = []
    for at in range(0, 1000, 20):
        made = await asyncio.gather(*(count.enqueue(n) for n in range(at, at + 20)))
        ids += [task.id for task in made]
    assert proxy.dropped >= 20
    assert_each_is_there_once(ledger, ids)


async def test_thousand_enqueues_in_turn_make_thousand_tasks(
    count: Count, proxy: Proxy, ledger: Ledger
) -> None:
    proxy.drop_every = 20
    ids = [(await count.enqueue(n)).id for n in range(1000)]
    assert proxy.dropped >= 50
    assert_each_is_there_once(ledger, ids)


async def test_thousand_enqueues_in_groups_make_thousand_tasks(
    count: Count, proxy: Proxy, ledger: Ledger
) -> None:
    proxy.drop_every = 2
    made = [await count.enqueue_many(range(at, at + 50)) for at in range(0, 1000, 50)]
    assert proxy.dropped >= 20
    assert_each_is_there_once(ledger, [task.id for group in made for task in group])


async def test_thousand_delayed_tasks_are_parked_once(
    count: Count, proxy: Proxy, ledger: Ledger
) -> None:
    proxy.drop_every = 2
    later = count.options(delay=600)
    made = [await later.enqueue_many(range(at, at + 50)) for at in range(0, 1000, 50)]
    assert proxy.dropped >= 20
    assert (ledger.entries(), ledger.scheduled(), ledger.left().parked) == (0, 1000, 1000)
    assert len({task.id for group in made for task in group}) == 1000
