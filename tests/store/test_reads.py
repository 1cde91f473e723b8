"""Blocking reads: one read waits for tasks of several queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.eventually import eventually
from tests.store.box import Box

from castwork.model.queue import Queue
from castwork.model.states import Priority
from castwork.redis.connections import Connections
from castwork.redis.replies import NoGroup, Unblocked
from castwork.store.reads import BlockingReads

pytestmark = pytest.mark.one_server("one read names keys of several slots")


@pytest.fixture
async def boxes(connections: Connections, namespace: str) -> list[Box]:
    made = [Box(connections, namespace, Queue(name)) for name in ("a", "b", "c")]
    for box in made:
        await box.alice.claims.create_groups()
    return made


@pytest.fixture
async def reads(boxes: list[Box], connections: Connections) -> AsyncIterator[BlockingReads]:
    link = await connections.dedicated(boxes[0].place.slot, "read-test", patience=12.0)
    yield BlockingReads(link, "alice")
    await link.close()


def is_blocked(plain: redis.Redis) -> bool:
    return any(
        client["name"] == "castwork-read-test" and "b" in client["flags"]
        for client in plain.client_list()
    )


async def test_what_comes_is_told_by_queue_and_lane(
    boxes: list[Box], reads: BlockingReads, plain: redis.Redis
) -> None:
    places = [box.place for box in boxes]
    read = asyncio.create_task(reads.read(places, count=2, block=10))
    await eventually(lambda: is_blocked(plain))
    (task_id,) = await boxes[1].put(1, Priority.LOW)

    batches = await asyncio.wait_for(read, 5)
    assert [[lane for lane, _ in batch.lanes] for batch in batches] == [[], [2], []]
    ((lane, ((entry, fields),)),) = batches[1].lanes
    assert boxes[1].alice.token(lane, entry, fields).task == task_id
    assert batches[1].now_ms == 0


async def test_each_lane_brings_as_much_as_was_asked_for(
    boxes: list[Box], reads: BlockingReads
) -> None:
    for lane in Priority:
        await boxes[0].put(3, lane)
    await boxes[2].put(1)

    batches = await reads.read([box.place for box in boxes], count=2, block=1)
    assert [[(lane, len(entries)) for lane, entries in b.lanes] for b in batches] == [
        [(0, 2), (1, 2), (2, 2)],
        [],
        [(1, 1)],
    ]
    assert len(await boxes[0].alice.claims.pending(0, 10)) == 2


async def test_nothing_comes_in_time(boxes: list[Box], reads: BlockingReads) -> None:
    batches = await reads.read([box.place for box in boxes], count=2, block=0.05)

    assert [batch.lanes for batch in batches] == [[], [], []]


async def test_a_read_can_be_ended_on_the_server(
    boxes: list[Box], reads: BlockingReads, plain: redis.Redis
) -> None:
    read = asyncio.create_task(reads.read([boxes[0].place], count=1, block=10))
    await eventually(lambda: is_blocked(plain))

    assert await reads.unblock(boxes[0].place)
    with pytest.raises(Unblocked):
        await asyncio.wait_for(read, 5)
    assert (await reads.read([boxes[0].place], count=1, block=0.01))[0].lanes == []
    await reads.link.close()
    assert not await reads.unblock(boxes[0].place)


async def test_a_group_that_is_gone_is_told(
    boxes: list[Box], reads: BlockingReads, plain: redis.Redis
) -> None:
    plain.delete(boxes[1].keys.lanes[0])

    with pytest.raises(NoGroup):
        await reads.read([box.place for box in boxes], count=1, block=1)
