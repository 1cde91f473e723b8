"""Renewals: leases renewed over a thread's own connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.store.box import Box

from castwork.store.renewals import Renewals


@pytest.fixture
async def renewals(box: Box) -> AsyncIterator[Renewals]:
    link = box.place.connections.thread_link(box.place.slot, 5.0)
    yield Renewals(box.place, "alice", lambda _: link)
    await asyncio.to_thread(link.close)


def idle_ms(plain: redis.Redis, box: Box) -> list[int]:
    pending = plain.xpending_range(box.keys.lanes[1], "workers", "-", "+", 100)
    return [one["time_since_delivered"] for one in pending]


async def test_renewing_starts_the_time_of_each_lease_again(
    box: Box, renewals: Renewals, plain: redis.Redis
) -> None:
    tokens = await box.held(3)
    for token in tokens:  # as if nothing had been heard of them for a minute
        plain.xclaim(
            box.keys.lanes[1], "workers", "alice", 0, [token.entry], idle=60_000, justid=True
        )
    deliveries = [token.delivery for token in tokens]
    plain.script_flush()

    assert min(idle_ms(plain, box)) >= 60_000
    assert await asyncio.to_thread(renewals.renew, 1, deliveries) == []
    assert max(idle_ms(plain, box)) < 30_000
    # It raises no count: the tokens are as good as before.
    assert await box.succeed(box.alice, *tokens) == [True] * 3


async def test_what_is_lost_is_told_and_left_to_its_new_owner(
    box: Box, renewals: Renewals, plain: redis.Redis
) -> None:
    tokens = await box.held(4)
    theirs = await box.bob.take_over(1, count=1)
    await box.succeed(box.alice, tokens[2])
    ended_lost_and_held = [tokens[n].delivery for n in (3, 0, 2, 1)]

    assert await asyncio.to_thread(renewals.renew, 1, ended_lost_and_held) == [1, 2]
    assert await box.succeed(box.bob, *theirs) == [True]


async def test_many_leases_are_renewed_by_one_call(
    box: Box, renewals: Renewals, plain: redis.Redis
) -> None:
    tokens = await box.held(500)
    theirs = {token.entry for token in await box.bob.take_over(1, count=7)}

    lost = await asyncio.to_thread(renewals.renew, 1, [token.delivery for token in tokens])
    assert {tokens[place].entry for place in lost} == theirs
