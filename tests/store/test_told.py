"""Told: a process hears the outcomes of its producers' tasks, each watcher those of its task."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
from tests.eventually import eventually
from tests.store.box import Box

from castwork.redis.connections import Connections
from castwork.store.told import Told


class Watcher:
    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.resumed = 0
        self.changed = asyncio.Event()

    def on_record(self, raw: bytes) -> None:
        self.records.append(raw)
        self.changed.set()

    def on_resumed(self) -> None:
        self.resumed += 1
        self.changed.set()


@pytest.fixture
def told(box: Box) -> Told:
    return Told(box.place)


def listened(plain: redis.Redis, box: Box) -> list[bytes]:
    return sorted(plain.pubsub_channels(f"{box.keys.prefix}:told*"))


async def test_each_watcher_hears_of_its_own_task(box: Box, told: Told) -> None:
    ids = await box.put(3)
    watchers = [Watcher() for _ in range(2)]
    for task_id, watcher in zip(ids, watchers, strict=False):
        await told.watch(task_id, watcher)
    tokens = await box.alice.take()

    await box.succeed(box.alice, *tokens)

    for token, watcher in zip(tokens, watchers, strict=False):
        await asyncio.wait_for(watcher.changed.wait(), 5)
        assert watcher.records == [token.record(token_status(watcher.records[0]))]


def token_status(raw: bytes):  # type: ignore[no-untyped-def]
    from castwork.model.record import decode_record

    return decode_record(raw).status


async def test_several_may_watch_one_task_and_leave_alone(box: Box, told: Told) -> None:
    (task_id,) = await box.put()
    first, second = Watcher(), Watcher()
    await told.watch(task_id, first)
    await told.watch(task_id, second)
    told.unwatch(task_id, first)
    told.unwatch(task_id, first)

    await box.succeed(box.alice, *await box.alice.take())
    await asyncio.wait_for(second.changed.wait(), 5)
    assert first.records == []


async def test_all_tasks_of_a_producer_share_a_subscription_that_ends_a_while_later(
    box: Box, told: Told, plain: redis.Redis
) -> None:
    ids = [*await box.put(20), *await box.put(1, producer="PRODU2"), "q:own"]
    watchers = [Watcher() for _ in ids]
    pairs = list(zip(ids, watchers, strict=True))
    await asyncio.gather(*(told.watch(task_id, watcher) for task_id, watcher in pairs))

    channels = [box.place.told(producer).encode() for producer in ("", "PRODU1", "PRODU2")]
    assert listened(plain, box) == sorted(channels)
    for task_id, watcher in pairs:
        told.unwatch(task_id, watcher)
    assert listened(plain, box) == sorted(channels), "the next one may come at once"
    await eventually(lambda: not listened(plain, box))


async def test_watching_again_in_time_keeps_the_subscription(
    box: Box, told: Told, plain: redis.Redis
) -> None:
    ids, (other,) = await box.put(2), (await box.put(1, producer="PRODU2"))
    first, second, later = Watcher(), Watcher(), Watcher()
    await told.watch(ids[0], first)
    told.unwatch(ids[0], first)
    await told.watch(ids[1], second)
    gone = plain.info("commandstats").get("cmdstat_unsubscribe", {"calls": 0})["calls"]

    # Left after the first: when this subscription has ended, the first would have ended, too.
    await told.watch(other, later)
    told.unwatch(other, later)
    await eventually(lambda: box.place.told("PRODU2").encode() not in listened(plain, box))

    calls = plain.info("commandstats").get("cmdstat_unsubscribe", {"calls": 0})["calls"]
    assert calls == gone + 1, "only that one"
    await box.succeed(box.alice, *await box.alice.take())
    await asyncio.wait_for(second.changed.wait(), 5)


async def test_an_outcome_that_came_before_its_watcher_is_handed_out_all_the_same(
    box: Box, told: Told
) -> None:
    other = Watcher()
    (before,) = await box.put()
    assert not await told.watch(before, other, since=time.monotonic())
    since = time.monotonic()
    (task_id,) = await box.put()
    tokens = await box.alice.take()
    await box.succeed(box.alice, *tokens)
    await asyncio.wait_for(other.changed.wait(), 5)

    watcher = Watcher()
    assert await told.watch(task_id, watcher, since=since), "all since then was heard"
    assert len(watcher.records) == 1


async def test_what_was_not_heard_is_not_claimed_to_be(box: Box, told: Told) -> None:
    (task_id,) = await box.put()
    watcher = Watcher()

    assert not await told.watch(task_id, watcher, since=time.monotonic() - 1)
    assert not await told.watch(task_id, Watcher(), since=None)


async def test_a_connection_that_was_away_is_told_to_every_watcher(
    box: Box, told: Told, plain: redis.Redis
) -> None:
    since = time.monotonic()
    (task_id,) = await box.put()
    watcher, late = Watcher(), Watcher()
    await told.watch(task_id, watcher)
    for client in plain.client_list():
        if client["name"] == "castwork-pushes" and client["sub"] != "0":
            plain.client_kill_filter(_id=client["id"])

    await asyncio.wait_for(watcher.changed.wait(), 10)
    assert watcher.resumed == 1
    assert not await told.watch(task_id, late, since=since)


async def test_connections_that_were_opened_anew_are_listened_to_anew(
    box: Box, told: Told, connections: Connections
) -> None:
    (task_id,) = await box.put()
    await told.watch(task_id, Watcher())
    await connections.close()

    watcher = Watcher()
    await told.watch(task_id, watcher)
    await box.succeed(box.alice, *await box.alice.take())
    await asyncio.wait_for(watcher.changed.wait(), 5)


async def test_a_message_that_is_none_of_ours_disturbs_nobody(
    box: Box, told: Told, plain: redis.Redis
) -> None:
    (task_id,) = await box.put()
    watcher = Watcher()
    await told.watch(task_id, watcher)
    for odd in (b"", b"\n", b"one line", b"a\nb\nc", b"\xff\n\xff"):
        plain.publish(box.place.told("PRODU1"), odd)

    await box.succeed(box.alice, *await box.alice.take())
    await asyncio.wait_for(watcher.changed.wait(), 5)
    assert len(watcher.records) == 1
