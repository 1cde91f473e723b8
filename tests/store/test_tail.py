"""Tail, on a real server: each item once and in order, and a gap where some cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
import redis
from tests.eventually import eventually

from castwork.model.chunk import Chunk
from castwork.model.errors import ConnectionFailed, NotOpen
from castwork.model.position import START, Position
from castwork.model.queue import Queue
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.store.histories import Histories, HistorySource, RawEvent
from castwork.store.outputs import Outputs
from castwork.store.place import QueuePlace
from castwork.store.tail import Gap, Item, StreamEntry, Tail

V = TypeVar("V")


@pytest.fixture
async def connections(server_url: str) -> AsyncIterator[Connections]:
    made = Connections(lambda: server_url, LinkSettings())
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def histories(connections: Connections, namespace: str) -> Histories:
    return Histories.of_channel(connections, namespace, "news")


@pytest.fixture
def outputs(connections: Connections, namespace: str) -> Outputs:
    return Outputs(QueuePlace(connections, namespace, Queue("work")))


async def take(tail: Tail[V], count: int) -> list[Item[V] | Gap]:
    """Take so many items and gaps."""
    got: list[Item[V] | Gap] = []
    async with asyncio.timeout(10), aclosing(tail.items()) as items:  # type: ignore[type-var]
        async for item in items:
            got.append(item)
            if len(got) == count:
                return got
    raise AssertionError(f"the tail ended; it gave {got}")


async def events(tail: Tail[RawEvent], count: int) -> list[int]:
    """Take so many events, which are numbers."""
    return numbers(await take(tail, count))


def numbers(items: Iterable[Item[RawEvent] | Gap]) -> list[int]:
    return [int(item.value.event) for item in items if isinstance(item, Item)]


async def append(histories: Histories, *numbers: int, keep: int = 1000) -> list[str]:
    return [await histories.append(b"%d" % number, keep) for number in numbers]


async def following(histories: Histories, after: Position | None = None) -> Tail[RawEvent]:
    tail = Tail(histories.source(), after=after)
    await tail.start()
    return tail


async def test_a_reader_begins_with_the_next_item(histories: Histories) -> None:
    await append(histories, 1, 2)
    tail = await following(histories)

    await append(histories, 3, 4)

    assert await events(tail, 2) == [3, 4]


async def test_a_reader_gets_all_that_is_there_and_what_comes(histories: Histories) -> None:
    await append(histories, 1, 2)
    tail = await following(histories, START)

    await append(histories, 3)

    assert await events(tail, 3) == [1, 2, 3]


async def test_a_reader_goes_on_behind_its_position(histories: Histories) -> None:
    ids = await append(histories, 1, 2, 3)
    tail = await following(histories, Position.parse(ids[0]))

    assert await events(tail, 2) == [2, 3]
    assert str(tail.last) == ids[2]


async def test_entries_that_were_not_announced_are_read(
    histories: Histories, plain: redis.Redis
) -> None:
    tail = await following(histories)
    [first] = await append(histories, 1)
    second = plain.xadd(histories.stream, {"uid": "x", "event": "2", "previous": first})
    plain.xadd(histories.stream, {"uid": "x", "event": "3", "previous": second})
    await append(histories, 4)

    assert await events(tail, 4) == [1, 2, 3, 4]


async def test_what_was_trimmed_is_a_gap(histories: Histories, plain: redis.Redis) -> None:
    ids = await append(histories, 1, 2, 3, 4)
    plain.xtrim(histories.stream, minid=ids[2], approximate=False)
    tail = await following(histories, Position.parse(ids[0]))

    gap, *items = await take(tail, 3)

    assert gap == Gap(Position.parse(ids[0]), Position.parse(ids[2]))
    assert numbers(items) == [3, 4]


async def test_a_history_is_taken_from_wherever_it_begins(
    histories: Histories, plain: redis.Redis
) -> None:
    ids = await append(histories, 1, 2, 3)
    plain.xtrim(histories.stream, minid=ids[1], approximate=False)
    tail = await following(histories, START)

    assert await events(tail, 2) == [2, 3]


async def test_a_gap_before_the_first_item_is_told_to_who_was_there_before_it(
    histories: Histories, plain: redis.Redis
) -> None:
    tail = await following(histories)
    plain.xadd(histories.stream, {"uid": "x", "event": "2", "previous": "5-1"}, id="5-2")
    tail.look_again()

    assert await take(tail, 2) == [
        Gap(START, Position(5, 2)),
        Item(Position(5, 2), Position(5, 1), RawEvent(b"2")),
    ]


async def test_an_announced_item_that_the_stream_lost_comes_behind_a_gap(
    histories: Histories, plain: redis.Redis
) -> None:
    tail = await following(histories)
    [first] = await append(histories, 1)
    assert await events(tail, 1) == [1]
    plain.delete(histories.stream)
    # In one millisecond with it a stream made anew would give its first entry the same id.
    await eventually(lambda: _now_ms(plain) > Position.parse(first).major, every=0.001)
    [second] = await append(histories, 2)

    gap, item = await take(tail, 2)

    assert gap == Gap(Position.parse(first), Position.parse(second))
    assert numbers([item]) == [2]


def _now_ms(plain: redis.Redis) -> int:
    seconds, microseconds = plain.time()
    return seconds * 1000 + microseconds // 1000


async def test_a_slow_reader_reads_what_overflowed(histories: Histories) -> None:
    tail = await following(histories)
    count = 2500  # more than a tail holds
    await asyncio.gather(*(append(histories, number, keep=5000) for number in range(count)))

    assert sorted(await events(tail, count)) == list(range(count))
    await append(histories, 7, keep=5000)
    assert await events(tail, 1) == [7]


async def test_what_came_while_the_connection_was_away_is_read(
    histories: Histories, plain: redis.Redis
) -> None:
    tail = await following(histories)
    await append(histories, 1)
    assert await events(tail, 1) == [1]

    kill_pushes(plain)
    await append(histories, 2, 3)

    assert await events(tail, 2) == [2, 3]


def kill_pushes(plain: redis.Redis) -> None:
    for client in plain.client_list():
        if client["name"] == "castwork-pushes":
            plain.client_kill_filter(_id=client["id"])


async def test_nothing_comes_twice(histories: Histories, plain: redis.Redis) -> None:
    tail = await following(histories)
    first, second = await append(histories, 1, 2)
    plain.publish(histories.source().channel, f"{second} {first} a 2")
    plain.publish(histories.source().channel, f"{first} 0-0 a 1")
    tail.look_again()
    await append(histories, 3)

    assert await events(tail, 3) == [1, 2, 3]
    assert [item async for item in tail.ready()] == []


@pytest.mark.parametrize("message", ["hello", "1-1 0-0 {}", "x 0-0 - {}", "9-9 ? - 1", b"\xff 1"])
async def test_a_message_that_is_not_ours_is_skipped_with_one_line(
    histories: Histories,
    plain: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    message: str | bytes,
) -> None:
    tail = await following(histories)
    await append(histories, 1)
    plain.publish(histories.source().channel, message)
    await append(histories, 2)

    assert await events(tail, 2) == [1, 2]
    assert [record.name for record in caplog.records] == ["castwork.store.tail"]


async def test_an_entry_that_is_not_ours_is_skipped_and_told_as_a_gap(
    histories: Histories, plain: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    [first] = await append(histories, 1)
    foreign = plain.xadd(histories.stream, {"hello": "world"})
    await append(histories, 2)
    tail = await following(histories, START)

    one, gap, two = await take(tail, 3)

    assert gap == Gap(Position.parse(first), Position.parse(foreign))
    assert numbers([one, two]) == [1, 2]
    assert len(caplog.records) == 1


async def test_a_reader_that_stops_in_the_middle_loses_nothing(
    histories: Histories, plain: redis.Redis
) -> None:
    ids = await append(histories, 1, 2, 3, 4)
    plain.xtrim(histories.stream, minid=ids[2], approximate=False)
    tail = await following(histories, Position.parse(ids[0]))
    await append(histories, 5, 6)

    parts = [await take(tail, 1) for _ in range(5)]

    assert parts[0] == [Gap(Position.parse(ids[0]), Position.parse(ids[2]))]
    assert numbers(item for part in parts for item in part) == [3, 4, 5, 6]


class Away(HistorySource):
    """A history whose server is away for the first reads."""

    def __init__(self, histories: Histories, times: int) -> None:
        super().__init__(histories)
        self.times = times
        self.counts: list[int] = []

    async def page(self, after: Position, count: int) -> list[StreamEntry]:
        self.counts.append(count)
        if self.times:
            self.times -= 1
            raise ConnectionFailed("away")
        return await super().page(after, count)


async def test_a_reader_waits_while_the_server_is_away(histories: Histories) -> None:
    await append(histories, 1, 2)
    source = Away(histories, 2)
    tail = Tail(source, after=START)
    await tail.start()

    assert await events(tail, 2) == [1, 2]
    assert source.times == 0


async def test_large_entries_are_read_a_few_at_a_time(histories: Histories) -> None:
    large = b'"%s"' % (b"x" * 500_000)
    await asyncio.gather(*(histories.append(large, 1000) for _ in range(105)))
    source = Away(histories, 0)
    tail = Tail(source, after=START)
    await tail.start()

    assert len(await take(tail, 105)) == 105
    assert source.counts[0] <= 20
    assert set(source.counts[1:]) == {1}, "256 kB are less than one"


async def test_closed_connections_end_a_reader_and_stay_closed(
    histories: Histories, connections: Connections
) -> None:
    tail = await following(histories)
    await connections.close()

    with pytest.raises(NotOpen):
        await take(tail, 1)
    assert not connections.is_open


async def test_a_closed_tail_ends(histories: Histories) -> None:
    tail = await following(histories)
    reading = asyncio.ensure_future(all_of(tail))
    await append(histories, 1)

    tail.close()

    assert len(await asyncio.wait_for(reading, 5)) <= 1
    await asyncio.wait_for(tail.wait(), 5)


async def all_of(tail: Tail[Any]) -> list[Any]:
    return [item async for item in tail.items()]


async def test_a_refused_start_leaves_no_listener(histories: Histories) -> None:
    class Refusing(HistorySource):
        async def newest(self) -> Position | None:
            raise ConnectionFailed("away")

    source = Refusing(histories)
    tail = Tail(source)
    with pytest.raises(ConnectionFailed):
        await tail.start()

    async def is_quiet() -> bool:
        return not (await histories.place.call("PUBSUB", "NUMSUB", source.channel))[1]

    await eventually(is_quiet)


async def test_wake_ends_a_wait_and_brings_nothing(
    histories: Histories, caplog: pytest.LogCaptureFixture
) -> None:
    tail = await following(histories)
    waiting = asyncio.ensure_future(tail.wait())

    tail.wake()

    assert await asyncio.wait_for(waiting, 5)
    assert [item async for item in tail.ready()] == []
    assert not caplog.records


# -- outputs ------------------------------------------------------------------------------


async def write(outputs: Outputs, *ids: str) -> None:
    for chunk_id in ids:
        kind = "reset" if chunk_id.endswith("-0") else "chunk"
        await outputs.append("task", Chunk(chunk_id, kind, chunk_id))


async def reading(outputs: Outputs, after: str | None = None) -> Tail[Chunk]:
    tail = Tail(outputs.source("task"), after=Position.parse_or_start(after))
    await tail.start()
    return tail


def told(items: Iterable[Item[Chunk] | Gap]) -> list[str]:
    return [item.value.id if isinstance(item, Item) else "gap" for item in items]


async def test_chunks_come_once_across_attempts(outputs: Outputs) -> None:
    tail = await reading(outputs)
    await write(outputs, "1-1", "1-2", "2-0", "2-1")

    assert told(await take(tail, 4)) == ["1-1", "1-2", "2-0", "2-1"]


async def test_a_reset_follows_on_anything(outputs: Outputs, plain: redis.Redis) -> None:
    tail = await reading(outputs)
    await write(outputs, "1-1")
    assert told(await take(tail, 1)) == ["1-1"]
    plain.delete(outputs.place.keys.output("task"))
    await write(outputs, "4-0", "4-1")

    assert told(await take(tail, 2)) == ["4-0", "4-1"]


async def test_an_attempt_that_ended_does_not_come_behind_the_next_one(
    outputs: Outputs, plain: redis.Redis
) -> None:
    tail = await reading(outputs)
    await write(outputs, "1-1", "2-0")
    plain.publish(outputs.source("task").channel, '{"id":"1-2","kind":"chunk","data":"late"}')
    await write(outputs, "2-1")

    assert told(await take(tail, 3)) == ["1-1", "2-0", "2-1"]


@pytest.mark.parametrize("after", [None, "1-1"])
async def test_trimmed_output_is_a_gap(
    outputs: Outputs, plain: redis.Redis, after: str | None
) -> None:
    await write(outputs, "1-1", "1-2", "1-3", "1-4")
    plain.xtrim(outputs.place.keys.output("task"), minid="1-3", approximate=False)
    tail = await reading(outputs, after)

    gap, *chunks = await take(tail, 3)

    assert gap == Gap(Position.parse_or_start(after), Position(1, 3))
    assert told(chunks) == ["1-3", "1-4"]


async def test_a_made_up_announcement_does_not_deafen(
    histories: Histories, plain: redis.Redis
) -> None:
    tail = await following(histories)
    await append(histories, 1)
    [item] = await take(tail, 1)
    live = histories.source().channel
    plain.publish(live, "99999999999999999-0 0-0 - {}")
    await append(histories, 2)
    [item] = await take(tail, 1)
    assert isinstance(item, Item)
    plain.publish(live, f"99999999999999999-0 {item.position} - 3")  # it follows on the last one
    assert await events(tail, 1) == [3]

    await append(histories, 4)
    gap, item = await take(tail, 2)
    assert isinstance(gap, Gap)
    await append(histories, 5)
    assert numbers([item]) + await events(tail, 1) == [4, 5]


async def test_a_position_above_the_history_is_a_gap_and_then_live(histories: Histories) -> None:
    await append(histories, 2)
    tail = Tail(histories.source(), after=Position.parse("99999999999999999-0"))
    await tail.start()

    [gap] = await take(tail, 1)
    assert isinstance(gap, Gap)
    await append(histories, 1)
    assert isinstance((await take(tail, 1))[0], Item)
