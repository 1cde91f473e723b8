"""Histories, on a real server: how an event gets out, and what stays of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis

from castwork.model.errors import EffectUnknown, QueueFull, UndecodableEntry
from castwork.model.position import START, Position
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.redis.inbox import Inbox
from castwork.store.histories import Histories, HistorySource, RawEvent, read_event
from castwork.store.place import ChannelPlace
from castwork.store.scripts import Script
from castwork.store.tail import Item, StreamEntry


@pytest.fixture
async def connections(server_url: str) -> AsyncIterator[Connections]:
    made = Connections(lambda: server_url, LinkSettings())
    yield made
    await made.close()


@pytest.fixture
def histories(connections: Connections, namespace: str) -> Histories:
    return Histories.of_channel(connections, namespace, "news")


class Losing(ChannelPlace):
    """A place that loses the replies to its next scripts, which have run."""

    losses = 0

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        timeout: float | None = None,
    ) -> Any:
        reply = await super().run(script, keys, args, timeout=timeout)
        if self.losses:
            self.losses -= 1
            raise EffectUnknown("the reply was lost")
        return reply


async def test_an_event_is_kept_and_announced_with_its_predecessor(
    histories: Histories, plain: redis.Redis, namespace: str
) -> None:
    inbox = Inbox()
    first = await histories.append(b'{"n": 1}', 10)
    await histories.place.listen(f"{{{namespace}:news}}", inbox)

    second = await histories.append(b'{"n": 2}', 10)

    await asyncio.wait_for(inbox.wait(), 5)
    assert inbox.take() == [f'{second} {first} a {{"n": 2}}'.encode()]
    [(_, one), (_, two)] = plain.xrange(f"{{{namespace}:news}}:history")
    assert (one[b"event"], one[b"previous"], one[b"flags"]) == (b'{"n": 1}', b"0-0", b"a")
    assert (two[b"event"], two[b"previous"]) == (b'{"n": 2}', first.encode())


async def test_an_event_that_asks_nobody_has_no_flags(
    histories: Histories, plain: redis.Redis
) -> None:
    inbox = Inbox()
    source = await listening(histories, inbox)

    event_id = await histories.append(b"1", 10, asks=False)

    await asyncio.wait_for(inbox.wait(), 5)
    [message] = inbox.take()
    assert message == f"{event_id} 0-0 - 1".encode()
    assert not source.parse(message).value.asks
    [(_, fields)] = plain.xrange(histories.stream)
    assert b"flags" not in fields


async def listening(histories: Histories, inbox: Inbox) -> HistorySource:
    source = histories.source()
    await histories.place.listen(source.channel, inbox)
    return source


@pytest.mark.parametrize("losses", [1, 3])
async def test_an_event_whose_reply_was_lost_is_kept_and_announced_once(
    histories: Histories, connections: Connections, plain: redis.Redis, losses: int
) -> None:
    place = Losing(connections, "news", histories.place.keys)
    place.losses = losses
    inbox = Inbox()
    await listening(histories, inbox)

    event_id = await Histories(place).append(b"1", 10)
    last = await histories.append(b"2", 10)

    assert [name for name, _ in plain.xrange(histories.stream)] == [
        event_id.encode(),
        last.encode(),
    ]
    messages: list[bytes] = []
    async with asyncio.timeout(5):
        while b" 2" not in b"".join(messages):
            await inbox.wait()
            messages += inbox.take()
    assert messages == [f"{event_id} 0-0 a 1".encode(), f"{last} {event_id} a 2".encode()]
    assert place.losses == 0


async def test_a_script_that_the_server_forgot_is_sent_whole(
    histories: Histories, plain: redis.Redis
) -> None:
    await histories.append(b"1", 10)
    plain.script_flush()
    await histories.append(b"2", 10)

    assert plain.xlen(histories.stream) == 2


async def test_a_history_keeps_its_length_and_a_little_more(
    histories: Histories, plain: redis.Redis
) -> None:
    for number in range(100):
        await histories.append(b"%d" % number, 16)

    assert 16 <= plain.xlen(histories.stream) <= 19
    newest = await histories.newest()
    assert newest is not None
    assert read_event(newest).value.event == b"99"


async def test_a_history_that_a_group_holds_up_is_full_in_the_end(
    histories: Histories, plain: redis.Redis, namespace: str
) -> None:
    plain.xgroup_create(histories.stream, "billing", id="0", mkstream=True)

    with pytest.raises(QueueFull, match="news"):
        for number in range(200):
            await histories.append(b"%d" % number, 1)

    assert 110 <= plain.xlen(histories.stream) <= 112
    [(_, oldest)] = plain.xrange(histories.stream, count=1)
    assert oldest[b"event"] == b"0"


async def test_a_page_begins_behind_a_position(histories: Histories) -> None:
    ids = [await histories.append(b"%d" % number, 10) for number in range(5)]

    page = await histories.page(Position.parse(ids[1]), 2)

    assert [str(entry.position) for entry in page] == ids[2:4]
    assert len(await histories.page(START, 100)) == 5
    assert await histories.page(Position.parse(ids[-1]), 100) == []


async def test_an_empty_history_has_no_newest_entry(histories: Histories) -> None:
    assert await histories.newest() is None
    assert await histories.source().newest() is None


async def test_a_plain_event_goes_to_exactly_the_channels_name(
    connections: Connections, plain: redis.Redis, namespace: str
) -> None:
    name = f"{namespace}:orders"
    histories = Histories.of_channel(connections, namespace, name)
    inbox = Inbox()
    await histories.place.listen(name, inbox)

    assert await histories.publish(b'{"order": 1}') == 1

    await asyncio.wait_for(inbox.wait(), 5)
    assert inbox.take() == [b'{"order": 1}']
    assert plain.keys(f"*{namespace}*") == []


@pytest.mark.one_server("a cluster has one database only")
async def test_channels_of_another_database_have_its_number_but_plain_ones_have_not(
    server_url: str, namespace: str, plain: redis.Redis
) -> None:
    other = Connections(lambda: f"{server_url}?db=1", LinkSettings())
    histories = Histories.of_channel(other, namespace, "news")
    heard = Inbox()
    try:
        await histories.place.link()
        assert other.database == 1
        assert histories.source().channel == f"{{{namespace}:news}}@1"
        await histories.place.listen(f"{{{namespace}:news}}@1", heard)
        await histories.append(b"1", 10)
        await asyncio.wait_for(heard.wait(), 5)
        with plain.pubsub() as orders:
            name = f"{namespace}:orders"
            orders.subscribe(name)
            orders.get_message(timeout=5)
            assert await Histories.of_channel(other, namespace, name).publish(b"2") == 1
    finally:
        await other.close()


def test_settings_and_channels_of_one_name_share_no_key(
    connections: Connections, namespace: str
) -> None:
    channel = Histories.of_channel(connections, namespace, "x")
    setting = Histories.of_setting(connections, namespace, "x")

    assert channel.stream != setting.stream


def test_a_live_message_is_read(histories: Histories) -> None:
    item = histories.source().parse(b'5-1 4-0 a {"text": "a b  c"}')

    assert item == Item(Position(5, 1), Position(4, 0), RawEvent(b'{"text": "a b  c"}', "a"))
    assert item.value.asks


@pytest.mark.parametrize(
    "payload",
    [b"", b"1-1", b'{"a": 1}', b"1-1 0-0 1", b'1-1 0-0 {"a": 1}', b"1 0-0 - 1", b"1-1 x a 1"],
)
def test_a_message_of_another_form_is_undecodable(histories: Histories, payload: bytes) -> None:
    with pytest.raises(UndecodableEntry):
        histories.source().parse(payload)


def test_an_entry_without_flags_or_predecessor_is_an_event(histories: Histories) -> None:
    entry = StreamEntry(Position(5, 1), [b"event", b"1"])

    assert read_event(entry) == Item(Position(5, 1), START, RawEvent(b"1"))


@pytest.mark.parametrize(
    "fields", [[], [b"hello", b"world"], [b"event", b"1", b"previous", b"yesterday"]]
)
def test_an_entry_of_another_form_is_undecodable(fields: list[bytes]) -> None:
    with pytest.raises(UndecodableEntry):
        read_event(StreamEntry(Position(5, 1), fields))
