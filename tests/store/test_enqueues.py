"""Enqueues: each task gets in once, whatever happens to calls and replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import redis
from tests.store.box import QUEUED, SCHEDULED, Box

from castwork.model.entry import Meta, encode_meta, parse_entry
from castwork.model.queue import Queue, QueueSettings
from castwork.model.states import Priority
from castwork.redis.connections import Connections
from castwork.store.enqueues import Enqueues, Row, Taken
from castwork.store.place import QueuePlace
from castwork.store.scripts import Script


def entries(plain: redis.Redis, box: Box, lane: int = 1) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in plain.xrange(box.keys.lanes[lane])]


async def test_a_row_is_queued_in_order_and_nothing_else_is_written(
    box: Box, plain: redis.Redis
) -> None:
    calls = [b"f PRODU10000000%d {}" % number for number in range(3)]

    (taken,) = await box.enqueues.enqueue([Row(Priority.NORMAL, calls)])

    assert [fields for _, fields in plain.xrange(box.keys.lanes[1])] == [
        {b"call": c} for c in calls
    ]
    assert [entry for entry, _ in plain.xrange(box.keys.lanes[1])] == taken.entries
    assert set(plain.scan_iter(f"{box.keys.prefix}*")) == {
        *(key.encode() for key in box.keys.lanes),
        box.keys.sent.encode(),
    }


async def test_rows_of_several_lanes_travel_together_each_with_its_extras(
    box: Box, plain: redis.Redis
) -> None:
    metas = [encode_meta(Meta(owner=owner)) for owner in ("ann", "bob")]
    rows = [
        Row(Priority.LOW, [b"f AAAAAA00000001 {}", b"f AAAAAA00000002 {}"], metas),
        Row(Priority.HIGH, [b"g AAAAAA00000003 {}"]),
    ]

    low, high = await box.enqueues.enqueue(rows)

    assert (len(low.entries), len(high.entries)) == (2, 1)
    parsed = [parse_entry([p for pair in f.items() for p in pair]) for f in entries(plain, box, 2)]
    assert [one.meta.owner for one in parsed if one.meta is not None] == ["ann", "bob"]
    assert [f[b"call"] for f in entries(plain, box, 0)] == [b"g AAAAAA00000003 {}"]


class Recording(QueuePlace):
    """Remembers each script call, so that a test can send a copy of it later."""

    def __init__(self, like: QueuePlace) -> None:
        super().__init__(like.connections, "", like.queue)
        self.keys = like.keys
        self.calls: list[tuple[Script, list[str], list[Any]]] = []

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        timeout: float | None = None,
    ) -> Any:
        self.calls.append((script, list(keys), list(args)))
        return await super().run(script, keys, args, timeout=timeout)


async def test_a_late_copy_of_an_old_call_adds_nothing(box: Box, plain: redis.Redis) -> None:
    place = Recording(box.place)
    enqueues = Enqueues(place)
    for number in range(200):  # each slot is used three times and more
        await enqueues.enqueue([Row(Priority.NORMAL, [b"f AAAAAA%08d {}" % number])])
    await enqueues.enqueue_named([box.named("q:one"), box.named("q:two", delay_ms=60_000)])
    before = (plain.xlen(box.keys.lanes[1]), plain.hgetall(box.keys.moved))
    await box.succeed(box.alice, *await box.alice.take(500))

    for script, keys, args in place.calls:
        await box.place.run(script, keys, args)

    assert before == (201, {b"q:one": before[1][b"q:one"]})
    assert plain.xlen(box.keys.lanes[1]) == 0
    assert plain.zcard(box.keys.due) == 1


async def test_a_repeated_call_is_answered_as_it_was_though_its_task_has_ended(
    box: Box, plain: redis.Redis
) -> None:
    place = Recording(box.place)
    await Enqueues(place).enqueue([Row(Priority.NORMAL, [b"f AAAAAA00000001 {}"])])
    (token,) = await box.alice.take()
    await box.succeed(box.alice, token)
    plain.delete(box.keys.record(token.task))  # its time to live is over

    script, keys, args = place.calls[0]
    assert await box.place.run(script, keys, args) == token.entry + b"/1"
    assert plain.xlen(box.keys.lanes[1]) == 0


async def test_a_full_queue_takes_as_much_as_fits_or_a_row_as_a_whole(
    connections: Connections, namespace: str
) -> None:
    box = Box(connections, namespace, Queue("q", settings=QueueSettings(max_depth=5)))
    calls = [b"f AAAAAA0000000%d {}" % number for number in range(3)]
    row = Row(Priority.NORMAL, calls)

    assert [t.depth for t in await box.enqueues.enqueue([row])] == [None]
    whole = await box.enqueues.enqueue([row], whole=True)
    assert whole == [Taken([], 3)]
    fits, full = await box.enqueues.enqueue([row, Row(Priority.HIGH, calls[:1])])
    assert (len(fits.entries), fits.depth) == (2, 5)
    assert full == Taken([], 5)
    assert await box.put_named(box.named("q:one")) == 5
    # What waits for a time does not count yet.
    assert await box.put_named(box.named("q:two", delay_ms=60_000)) == ("q:two", True)


async def test_a_task_with_an_id_of_its_own_is_found_by_it(box: Box, plain: redis.Redis) -> None:
    assert await box.put_named(box.named("q:mine", lane=Priority.HIGH)) == ("q:mine", True)
    assert await box.put_named(box.named("q:mine")) == ("q:mine", False)

    ((entry, fields),) = plain.xrange(box.keys.lanes[0])
    assert fields[b"id"] == b"q:mine"
    assert plain.hgetall(box.keys.moved) == {b"q:mine": b"high:" + entry}
    await box.succeed(box.alice, *await box.alice.take())
    assert await box.put_named(box.named("q:mine")) == ("q:mine", False), "its record is kept"


async def test_a_delayed_task_is_parked_with_its_record(box: Box, plain: redis.Redis) -> None:
    await box.put_named(box.named("q:later", delay_ms=60_000))

    assert plain.zrange(box.keys.due, 0, -1) == [b"q:later"]
    assert plain.get(box.keys.record("q:later")) == SCHEDULED
    assert (
        QUEUED.decode()
        in msgspec.json.decode(plain.hget(box.keys.parked, "q:later").partition(b" ")[2]).values()
    )
    assert await box.put_named(box.named("q:later")) == ("q:later", False)


async def test_a_key_stands_for_the_first_task_of_its_function_and_tenant(box: Box) -> None:
    async def put(task_id: str, *key: str) -> object:
        return await box.put_named(box.named(task_id, key=key))  # type: ignore[arg-type]

    assert await put("q:1", "mail", "", "digest:7") == ("q:1", True)
    assert await put("q:2", "mail", "", "digest:7") == ("q:1", False)
    assert await put("q:3", "mail:digest", "", "7") == ("q:3", True)
    assert await put("q:4", "mail", "acme", "digest:7") == ("q:4", True)
    assert await put("q:5", "mail", "acme", "digest:7") == ("q:4", False)


async def test_named_tasks_of_one_call_see_one_another(
    connections: Connections, namespace: str
) -> None:
    box = Box(connections, namespace, Queue("q", settings=QueueSettings(max_depth=2)))
    key = ("f", "", "k")
    tasks = [
        box.named("q:1", key=key),
        box.named("q:2", key=key),
        box.named("q:1"),
        box.named("q:3"),
        box.named("q:4"),
        box.named("q:5", delay_ms=60_000),
    ]

    replies = await box.enqueues.enqueue_named(tasks)
    assert [reply if isinstance(reply, int) else reply[:2] for reply in replies] == [
        ("q:1", True),
        ("q:1", False),
        ("q:1", False),
        ("q:3", True),
        2,
        ("q:5", True),
    ]


async def test_what_another_program_writes_among_the_answers_is_no_answer(
    box: Box, plain: redis.Redis
) -> None:
    row = Row(Priority.NORMAL, [b"f PRODU100000000 {}"])
    await box.enqueues.enqueue([row])
    for slot in plain.hkeys(box.keys.sent):
        plain.hset(box.keys.sent, slot, b"\xff{")

    (taken,) = await box.enqueues.enqueue([row])

    assert len(taken.entries) == 1
    assert plain.xlen(box.keys.lanes[1]) == 2


@pytest.mark.parametrize("count", [1, 2, 300])
async def test_entries_are_told_whether_or_not_they_follow_on_one_another(
    box: Box, plain: redis.Redis, count: int
) -> None:
    ids = await box.put(count)
    page = plain.xrange(box.keys.lanes[1])

    assert len(page) == len(set(ids)) == count
    tokens = await box.alice.take(count)
    assert [token.task for token in tokens] == ids
