"""What a step waits for: counted once, while it waits, and let go of when nobody takes it."""

from __future__ import annotations

import redis
from tests.store.box import Box

from castwork.model.record import Record, encode_record
from castwork.model.states import TaskState
from castwork.store.steps import Steps


def record(status: TaskState) -> bytes:
    return encode_record(Record(status, "embed"))


async def test_a_step_begins_with_the_last_that_arrives(box: Box, plain: redis.Redis) -> None:
    steps = Steps(box.place, box.parked)
    await box.put_named(box.named("q:s", delay_ms=60_000))
    for number in (0, 0, 1, 1):
        assert await steps.arrive("q:s", number, 3)
        assert await box.alice.take() == []
    assert await steps.arrive("q:s", 2, 3)
    assert len(await box.alice.take()) == 1
    assert await steps.arrived("q:s") == 3

    assert await steps.arrive("q:s", 1, 3), "a late repetition"
    assert await box.alice.take() == []
    assert plain.ttl(box.keys.arrived("q:s")) == -1, "the server may evict what has a ttl"


async def test_nobody_arrives_at_a_step_that_has_ended(box: Box, plain: redis.Redis) -> None:
    steps = Steps(box.place, box.parked)
    for status in (TaskState.FAILED, TaskState.CANCELLED, TaskState.SUCCEEDED):
        plain.set(box.keys.record("q:s"), record(status))
        assert not await steps.arrive("q:s", 0, 2)
    assert not await steps.arrive("q:unknown", 0, 2)
    assert plain.exists(box.keys.arrived("q:s"), box.keys.arrived("q:unknown")) == 0


async def test_what_was_taken_goes_in_an_hour_unless_it_is_needed_yet(
    box: Box, plain: redis.Redis
) -> None:
    steps = Steps(box.place, box.parked)
    for status in TaskState:
        plain.set(box.keys.record(f"q:{status}"), record(status))
        plain.xadd(box.keys.output(f"q:{status}"), {"a": "b"})
    await steps.taken([f"q:{status}" for status in TaskState] + ["q:unknown"])

    kept = {status for status in TaskState if plain.ttl(box.keys.record(f"q:{status}")) == -1}
    assert kept == {TaskState.SCHEDULED, TaskState.QUEUED, TaskState.RUNNING, TaskState.DEAD}
    assert {s for s in TaskState if plain.ttl(box.keys.output(f"q:{s}")) == -1} == kept
    assert 3500 < plain.ttl(box.keys.record("q:succeeded")) <= 3600
