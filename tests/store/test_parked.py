"""Parked: tasks that wait for a time, by the server's clock."""

from __future__ import annotations

import pytest
import redis
from tests.store.box import QUEUED, SCHEDULED, Box

from castwork.model.states import Priority


async def test_what_is_due_is_told_with_the_wait_for_the_rest(box: Box, plain: redis.Redis) -> None:
    assert await box.parked.due(10) == ([], None)
    for number in range(4):
        await box.put_named(box.named(f"q:{number}", delay_ms=60_000))
    plain.zadd(box.keys.due, {"q:2": 2, "q:1": 1})

    ids, wait = await box.parked.due(10)
    assert ids == ["q:1", "q:2"]
    assert wait is not None
    assert 50 < wait <= 60


async def test_of_very_many_that_are_due_each_call_takes_another_part(
    box: Box, plain: redis.Redis
) -> None:
    plain.zadd(box.keys.due, {f"q:{number}": number for number in range(170)})

    found = [tuple((await box.parked.due(10))[0]) for _ in range(60)]
    assert {len(ids) for ids in found} == {10}
    assert 8 < len(set(found)) <= 16, "16 parts of 10, drawn by chance"
    assert "q:160" not in {one for ids in found for one in ids}, "the earliest come first"
    assert len((await box.parked.due(170))[0]) == 170
    assert {len((await box.parked.due(100))[0]) for _ in range(60)} == {100}, "a part is full"


async def test_a_task_that_is_due_is_queued_once_whoever_tries(
    box: Box, plain: redis.Redis
) -> None:
    await box.put_named(box.named("q:1", lane=Priority.LOW, delay_ms=60_000))
    await box.put_named(box.named("q:2", delay_ms=60_000))
    told = plain.pubsub(ignore_subscribe_messages=True)
    told.subscribe(box.place.told(""))
    told.get_message(timeout=5)

    assert await box.parked.unpark(["q:1", "q:2", "q:unknown"]) == 2
    assert await box.parked.unpark(["q:1", "q:2"]) == 0

    tokens = await box.alice.take()
    assert [(t.task, t.lane, t.moved) for t in tokens] == [("q:2", 1, True), ("q:1", 2, True)]
    assert plain.hgetall(box.keys.moved) == {
        b"q:1": b"low:" + tokens[1].entry,
        b"q:2": b"normal:" + tokens[0].entry,
    }
    assert plain.exists(box.keys.due, box.keys.parked) == 0
    assert plain.get(box.keys.record("q:1")) == QUEUED
    message = told.get_message(timeout=5)
    assert message["data"] == box.keys.record("q:1").encode() + b"\n" + QUEUED
    told.close()


async def test_the_time_of_the_first_enqueue_goes_along(box: Box, plain: redis.Redis) -> None:
    before = plain.time()[0] * 1000
    await box.put_named(box.named("q:1", delay_ms=60_000))
    await box.parked.unpark(["q:1"])
    (token,) = await box.alice.take()
    ((_, fields),) = plain.xrange(box.keys.lanes[1])
    assert before <= int(fields[b"at"]) <= plain.time()[0] * 1000 + 1000

    entry = token.next_entry()
    entry.at = int(fields[b"at"])
    assert await box.alice.outcomes.park(token.delivery, entry, 0, SCHEDULED, QUEUED)
    assert await box.parked.unpark(["q:1"]) == 1
    ((_, again),) = plain.xrange(box.keys.lanes[1])
    assert again[b"at"] == fields[b"at"]


async def test_arguments_come_through_byte_for_byte(box: Box, plain: redis.Redis) -> None:
    """Numbers that Lua would round, empty lists that it would turn into objects."""
    args = '{"n":9007199254740993,"x":[],"y":{},"z":1e400,"é":"\\u0000\\n\\"☃"}'.encode()
    task = box.named("q:1")
    call = task.call.rsplit(b" ", 1)[0] + b" " + args
    (token,) = await box.held()
    entry = token.next_entry()
    entry.args = args

    assert await box.alice.outcomes.park(token.delivery, entry, 0, SCHEDULED, QUEUED)
    ids, _ = await box.parked.due(10)
    await box.parked.unpark(ids)
    ((_, fields),) = plain.xrange(box.keys.lanes[1])
    assert fields[b"call"].split(b" ", 2)[2] == call.split(b" ", 2)[2] == args


async def test_a_row_that_is_no_task_keeps_nobody_waiting(box: Box, plain: redis.Redis) -> None:
    plain.zadd(box.keys.due, {"q:ghost": 1})  # nothing is parked under it
    await box.put_named(box.named("q:1", delay_ms=60_000))

    assert await box.parked.unpark(["q:ghost", "q:1"]) == 1
    assert (await box.parked.due(10))[0] == []


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"nonsense",
        b"7 {",
        b"7 []",
        b'7 {"fields": []}',
        b'7 {"fields": ["call"]}',
        b'7 {"fields": ["call", 3]}',
        b"\xff",
    ],
)
async def test_a_row_that_does_not_decode_is_left_for_people_and_stops_no_other(
    box: Box, plain: redis.Redis, row: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    plain.hset(box.keys.parked, b"q:odd\xff", row)
    plain.zadd(box.keys.due, {b"q:odd\xff": 1})
    await box.put_named(box.named("q:1", delay_ms=60_000))

    ids, _ = await box.parked.due(10)
    assert await box.parked.unpark([*ids, "q:1"]) == 1
    assert "do not decode" in caplog.text
    assert plain.hget(box.keys.parked, b"q:odd\xff") == row
    assert plain.exists(box.keys.due) == 0
