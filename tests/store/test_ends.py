"""Ends that a task follows: outcome and following task in one step, or neither."""

from __future__ import annotations

import pytest
import redis
from tests.store.box import Box

from castwork.model.errors import ServerRefused
from castwork.model.states import TaskState
from castwork.store.letter import Letter

FOLLOWING = b"f:on_end AAAAAA00000001 {}"


async def test_an_end_stores_the_outcome_and_queues_what_follows_once(
    box: Box, plain: redis.Redis
) -> None:
    (token,) = await box.held()
    record = token.record(TaskState.SUCCEEDED)
    for _ in range(2):  # as when the reply was lost
        assert await box.alice.outcomes.end(token.delivery, record, 60_000, FOLLOWING, None)
    assert plain.get(box.keys.record(token.task)) == record
    assert 0 < plain.pttl(box.keys.record(token.task)) <= 60_000
    assert [fields for _, fields in plain.xrange(box.keys.lanes[1])] == [{b"call": FOLLOWING}]
    assert plain.xpending(box.keys.lanes[1], "workers")["pending"] == 0


async def test_a_worker_that_lost_its_lease_changes_nothing(box: Box, plain: redis.Redis) -> None:
    (token,) = await box.held()
    lane = box.keys.lanes[1]
    plain.xclaim(lane, "workers", "bob", 0, [token.entry], force=True)
    record = token.record(TaskState.SUCCEEDED)
    assert not await box.alice.outcomes.end(token.delivery, record, 60_000, FOLLOWING, None)
    assert plain.xlen(lane) == 1
    assert plain.exists(box.keys.record(token.task)) == 0


async def test_a_dead_task_becomes_a_letter_and_is_followed(box: Box, plain: redis.Redis) -> None:
    (token,) = await box.held()
    record = token.record(TaskState.DEAD)
    letter = Letter("", token.task, "f", 1, "normal", [], [b"call", b"f - {}"])
    for _ in range(2):
        assert await box.alice.outcomes.end(token.delivery, record, None, FOLLOWING, letter)
    assert plain.xlen(box.keys.dead) == 1
    assert plain.hexists(box.keys.letters, token.task)
    assert plain.pttl(box.keys.record(token.task)) == -1
    assert plain.xlen(box.keys.lanes[1]) == 1


async def test_what_the_server_refuses_leaves_the_task_where_it_is(
    box: Box, plain: redis.Redis
) -> None:
    (token,) = await box.held()
    plain.set(box.keys.dead, "no stream")
    letter = Letter("", token.task, "f", 1, "normal", [], [b"call", b"f - {}"])
    record = token.record(TaskState.DEAD)
    with pytest.raises(ServerRefused, match="WRONGTYPE"):
        await box.alice.outcomes.end(token.delivery, record, None, FOLLOWING, letter)
    assert plain.xpending(box.keys.lanes[1], "workers")["pending"] == 1
    assert plain.exists(box.keys.record(token.task)) == 0
