"""Subscriptions: the handlers of one process hear every event, whatever goes wrong."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.channels.conftest import Declare
from tests.eventually import eventually

from castwork.channels.event import Resync
from castwork.channels.receipt import Applied
from castwork.channels.subscription import Subscription
from castwork.model.errors import ServerRefused
from castwork.redis.connections import Connections


class Ear:
    """A handler that remembers what it was given."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()

    async def __call__(self, event: int | Resync) -> None:
        self.heard.put_nowait("resync" if isinstance(event, Resync) else event)

    async def next(self, count: int) -> list[Any]:
        async with asyncio.timeout(10):
            return [await self.heard.get() for _ in range(count)]


async def test_a_handler_hears_every_event_from_its_start_on(declare: Declare) -> None:
    channel, ear = declare(), Ear()
    await channel.publish(0)

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    for number in range(1, 6):
        await channel.publish(number)

    assert await ear.next(5) == [1, 2, 3, 4, 5]


async def test_a_handler_that_fails_is_told_and_hears_the_next_event(declare: Declare) -> None:
    channel, ear = declare(), Ear()

    @channel.subscribe
    async def fail(event: int) -> None:
        if event == 1:
            raise ValueError("not this one")

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    failed = await (await channel.publish(1)).applied(timeout=10)
    applied = await (await channel.publish(2)).applied(timeout=10)

    assert list(failed.failed.values()) == ["ValueError: not this one"]
    assert applied.complete
    assert await ear.next(2) == [1, 2]


async def test_an_event_of_another_type_is_skipped_and_told(declare: Declare) -> None:
    channel, ear = declare(), Ear()
    other = declare(kind=str)

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    receipt = await (await other.publish("text")).applied(timeout=10)
    await channel.publish(2)

    assert len(receipt.failed) == 1
    assert await ear.next(1) == [2]


async def test_a_handler_that_takes_resync_is_told_of_a_gap(
    declare: Declare, plain: redis.Redis
) -> None:
    channel, ear = declare(), Ear()

    @channel.subscribe
    async def hear(event: int | Resync) -> None:
        await ear(event)

    await channel.start()
    await channel.publish(1)
    assert await ear.next(1) == [1]
    plain.delete(channel.history_stream)
    # In one millisecond with it a stream made anew would give its first entry the same id.
    deleted = plain.time()
    await eventually(lambda: plain.time() > (deleted[0], deleted[1] + 1000), every=0.001)
    await channel.publish(2)

    assert await ear.next(2) == ["resync", 2]


async def test_events_of_an_outage_reach_the_handlers_in_order(
    declare: Declare, processes: Callable[[], Connections], plain: redis.Redis
) -> None:
    channel, ear = declare(), Ear()
    publisher = declare(process=processes())

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    for number in range(30):
        if number % 10 == 5:
            for client in plain.client_list():
                if client["name"].startswith("castwork-"):
                    plain.client_kill_filter(_id=client["id"])
        await publisher.publish(number)

    assert await ear.next(30) == list(range(30))


async def test_a_stream_that_cannot_be_read_does_not_make_the_handlers_deaf(
    declare: Declare, plain: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    channel, ear = declare(), Ear()

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    plain.set(channel.history_stream, "no stream")
    with pytest.raises(ServerRefused):
        await channel.publish(1)
    plain.publish(channel._histories.source().channel, "9-9 9-8 a 1")
    await eventually(lambda: "following it waits" in caplog.text)
    plain.delete(channel.history_stream)
    await channel.publish(2)

    assert (await ear.next(1))[-1] == 2


async def test_an_event_that_cannot_be_read_is_skipped_whatever_reading_it_raises(
    declare: Declare, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, ear = declare(f"{namespace}:orders", history=0), Ear()

    @channel.subscribe
    async def hear(event: int | Resync) -> None:
        await ear(event)

    decode = channel.codec.decode

    def fail(raw: bytes) -> int:
        if raw == b"1":
            raise RuntimeError("a bug")
        return decode(raw)

    await channel.start()
    monkeypatch.setattr(channel.codec, "decode", fail)
    await channel._histories.publish(b"1")
    await channel.publish(2)

    assert await ear.next(1) == [2]


class Unspeakable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), SystemExit(3), GeneratorExit(), StopIteration(), Unspeakable()],
    ids=repr,
)
@pytest.mark.parametrize("in_thread", [False, True])
async def test_whatever_a_handler_raises_is_its_own_failure(
    declare: Declare, error: BaseException, in_thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    channel, ear = declare(), Ear()

    def fail(event: int) -> None:
        if event == 1:
            raise error

    async def fail_on_the_loop(event: int) -> None:
        fail(event)

    channel.subscribe(fail if in_thread else fail_on_the_loop)

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    receipt = await channel.publish(1)
    await channel.publish(2)

    assert await ear.next(2) == [1, 2]
    assert (await receipt.applied(timeout=5)).failed
    assert "failed" in caplog.text


async def test_a_stopped_subscription_is_no_member_any_more(
    declare: Declare, plain: redis.Redis
) -> None:
    channel, ear = declare(), Ear()

    @channel.subscribe
    async def hear(event: int) -> None:
        await ear(event)

    await channel.start()
    assert len((await (await channel.publish(1)).applied(timeout=10)).applied) == 1
    await channel.stop()
    await channel.publish(2)

    assert await (await channel.publish(3)).applied(timeout=10) == Applied()
    assert await ear.next(1) == [1]
    assert ear.heard.empty()


async def test_a_start_that_fails_leaves_no_subscription(
    declare: Declare, plain: redis.Redis, namespace: str
) -> None:
    channel = declare()

    @channel.subscribe
    async def hear(event: int) -> None:
        raise AssertionError("not called")

    plain.set(f"{{{namespace}:news}}:members", "no register")
    with pytest.raises(ServerRefused):
        await channel.start()

    await eventually(lambda: plain.pubsub_channels(f"*{namespace}*") == [])


def test_subscriptions_know_which_handlers_take_a_resync(declare: Declare) -> None:
    channel, ear = declare(), Ear()

    async def plain(event: int) -> None: ...

    async def told(event: int | Resync) -> None: ...

    partly = functools.partial(told)
    handlers: list[Any] = [plain, told, ear, partly, lambda _: None, print]
    subscription = Subscription("news", channel.codec, handlers, channel.follower())

    assert subscription._resync == {told, ear, partly}
