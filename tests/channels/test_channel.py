"""Channels: publish, listen, subscribe."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
import redis
from tests.channels.conftest import Declare
from tests.eventually import eventually

from castwork import App
from castwork.channels.channel import Channel
from castwork.channels.event import Delivered, Resync
from castwork.channels.follower import HistoryFollower
from castwork.model.errors import (
    DefinitionError,
    InvalidArguments,
    PayloadTooLarge,
    UndecodableEntry,
)


async def first(channel: Channel[Any], count: int, after: str | None = None) -> list[Any]:
    """The first things that a listener gets."""
    got: list[Any] = []
    async with asyncio.timeout(10), aclosing(channel.listen(after)) as items:  # type: ignore[type-var]
        async for item in items:
            got.append(item)
            if len(got) == count:
                break
    return got


@pytest.mark.parametrize("prefix", ["setting:", "lock:", "output:", "cache:"])
def test_a_history_under_a_name_that_other_things_have_is_refused(
    declare: Declare, prefix: str
) -> None:
    with pytest.raises(DefinitionError, match=prefix):
        declare(f"{prefix}x", history=10)

    declare(f"{prefix}x", history=0)  # it has no keys, and may be another program's channel


async def test_a_listener_gets_the_history_and_goes_on(declare: Declare) -> None:
    channel = declare()
    ids = [(await channel.publish(number)).id for number in (1, 2, 3)]

    assert await first(channel, 3, "0") == [
        Delivered(event_id, number) for event_id, number in zip(ids, (1, 2, 3), strict=True)
    ]
    assert await first(channel, 1, ids[1]) == [Delivered(ids[2], 3)]


async def test_a_listener_that_was_away_for_too_long_is_told(
    declare: Declare, plain: redis.Redis
) -> None:
    channel = declare()
    ids = [(await channel.publish(number)).id for number in (1, 2, 3)]
    plain.xtrim(channel.history_stream, minid=ids[2], approximate=False)

    assert await first(channel, 2, ids[0]) == [Resync("news", ids[0]), Delivered(ids[2], 3)]


@pytest.mark.parametrize("after", ["yesterday", "1-", "-1", "1-2-3"])
async def test_a_listener_behind_what_is_no_id_is_refused(declare: Declare, after: str) -> None:
    with pytest.raises(UndecodableEntry):
        await first(declare(), 1, after)


async def test_a_listener_of_a_plain_channel_hears_other_programs(
    declare: Declare, namespace: str, plain: redis.Redis
) -> None:
    channel = declare(f"{namespace}:orders", history=0)
    follower = channel.follower()
    await follower.start()
    plain.publish(f"{namespace}:orders", "17")
    receipt = await channel.publish(18)

    async with asyncio.timeout(10), aclosing(follower.events()) as events:  # type: ignore[type-var]
        heard = [await anext(events), await anext(events)]

    follower.close()
    assert [(one.id, one.event) for one in heard if not isinstance(one, Resync)] == [
        ("", b"17"),
        ("", b"18"),
    ]
    assert (receipt.id, receipt.subscribers) == ("", 1)
    assert not channel.has_history
    assert plain.keys(f"*{namespace}*") == []


async def test_a_listener_of_a_plain_channel_is_told_of_a_reconnect_behind_what_it_heard(
    declare: Declare, namespace: str
) -> None:
    channel = declare(f"{namespace}:orders", history=0)
    follower = channel.follower()
    await follower.start()
    await channel.publish(1)
    follower.look_again()
    await channel.publish(2)

    got = []
    async with asyncio.timeout(10), aclosing(follower.events()) as events:  # type: ignore[type-var]
        async for item in events:
            got.append("resync" if isinstance(item, Resync) else item.event)
            if {"resync", b"2"} <= set(got):
                break

    follower.close()
    assert got.index(b"1") < got.index("resync")


async def test_a_listener_of_a_plain_channel_that_is_too_slow_is_told(
    declare: Declare,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("castwork.channels.follower._HELD_BYTES", 100_000)
    channel = declare(f"{namespace}:orders", history=0)
    follower = channel.follower()
    await follower.start()
    for number in range(2500):
        await channel.publish(number)

    got = []
    async with asyncio.timeout(10), aclosing(follower.events()) as events:  # type: ignore[type-var]
        async for item in events:
            got.append(item)
            if isinstance(item, Resync):
                break

    follower.close()
    assert got[-1] == Resync(channel.name)
    assert 500 < len(got) < 2000
    assert any("were dropped" in line.message for line in caplog.records)


async def test_a_burst_on_a_plain_channel_is_heard_whole(
    declare: Declare, namespace: str, plain: redis.Redis
) -> None:
    channel = declare(f"{namespace}:orders", history=0)
    heard: list[int] = []

    @channel.subscribe
    async def hear(event: int) -> None:
        heard.append(event)

    await channel.start()
    with plain.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.publish(channel.name, number)
        pipeline.execute()
    await eventually(lambda: len(heard) == 20_000)

    assert heard == list(range(20_000))
    await channel.stop()


@pytest.mark.parametrize("history", [0, 100])
async def test_a_listener_goes_on_behind_an_event_of_another_type(
    declare: Declare, namespace: str, plain: redis.Redis, history: int
) -> None:
    channel = declare(f"{namespace}:orders", history=history)
    histories = channel._histories

    async def publish() -> None:
        while True:
            for event in (b'"text"', b"7"):
                await (histories.append(event, history) if history else histories.publish(event))

    publishing = asyncio.create_task(publish())
    async with asyncio.timeout(10), aclosing(channel.listen()) as listening:  # type: ignore[type-var]
        got = [await anext(listening) for _ in range(3)]
    publishing.cancel()

    assert [item.value for item in got if isinstance(item, Delivered)] == [7, 7, 7]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_handler_that_is_added_late_hears(
    declare: Declare, namespace: str, others: int
) -> None:
    channel, first, late = declare(f"{namespace}:orders", history=0), [], []  # type: ignore[var-annotated]
    if others:
        channel.subscribe(first.append)
    await channel.start()
    channel.subscribe(late.append)

    async def publish() -> None:
        while True:
            await channel.publish(1)

    publishing = asyncio.create_task(publish())
    await eventually(lambda: bool(late))
    publishing.cancel()
    assert bool(first) == bool(others)
    await channel.stop()


async def test_a_handler_that_cannot_hear_is_refused(declare: Declare) -> None:
    channel = declare()
    await channel.start()

    with pytest.raises(DefinitionError, match="the app is open"):
        await asyncio.to_thread(channel.subscribe, print)
    await channel.stop()
    channel.subscribe(print)


async def test_a_closed_follower_ends(declare: Declare, namespace: str) -> None:
    for channel in (declare(), declare(f"{namespace}:orders", history=0)):
        follower = channel.follower()
        await follower.start()
        follower.close()

        async with asyncio.timeout(5):
            assert [item async for item in follower.events()] == []


async def test_an_event_is_checked_before_it_goes_out(declare: Declare, plain: redis.Redis) -> None:
    channel = declare()

    with pytest.raises(InvalidArguments):
        await channel.publish("one")
    with pytest.raises(PayloadTooLarge):
        await channel.publish(10**1500)

    assert plain.xlen(channel.history_stream) == 0


async def test_a_reader_without_a_subscription_catches_up(declare: Declare) -> None:
    channel = declare()
    ids = [(await channel.publish(number)).id for number in (1, 2)]
    reader = channel.follower("0")
    assert isinstance(reader, HistoryFollower)

    got = [item async for item in reader.catch_up()]

    assert [item.event for item in got if not isinstance(item, Resync)] == [b"1", b"2"]
    assert str(reader.last) == ids[1]


def test_a_group_on_a_channel_without_history_is_refused(declare: Declare) -> None:
    with pytest.raises(DefinitionError, match="history="):
        declare("plain", history=0).subscribe(group="billing")


@pytest.mark.parametrize("history", [0, 10])
async def test_history_that_cuts_plain_subscribers_off_is_told_at_the_start(
    app: App,
    namespace: str,
    plain: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    history: int,
) -> None:
    news = app.channel(f"{namespace}:news", int, history=history)

    @news.subscribe
    async def handle(event: int) -> None: ...

    with plain.pubsub() as pubsub:
        pubsub.subscribe(news.name)
        pubsub.get_message(timeout=5)
        async with app:
            pass
        told = [r.getMessage() for r in caplog.records if "plain Redis channel" in r.getMessage()]
        assert [f"{namespace}:news" in text and "(1 of them)" in text for text in told] == (
            [True] if history else []
        )
    caplog.clear()
    async with app:
        await news.publish(1)
    assert "plain Redis channel" not in caplog.text
