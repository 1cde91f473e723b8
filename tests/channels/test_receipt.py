"""Receipts: who has applied an event, and what they cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
import redis
from tests.channels.conftest import Declare
from tests.eventually import eventually

from castwork.channels import membership as membership_module
from castwork.channels.channel import Channel
from castwork.channels.membership import Membership, decode_position
from castwork.channels.receipt import Applied
from castwork.model.errors import DefinitionError, UndecodableEntry
from castwork.redis.connections import Connections
from castwork.redis.inbox import Inbox
from castwork.store.members import Members


async def subscribed(channel: Channel[int], gate: asyncio.Event | None = None) -> None:
    @channel.subscribe
    async def hear(event: int) -> None:
        if gate is not None:
            await gate.wait()

    await channel.start()


async def test_every_process_is_waited_for(
    declare: Declare, processes: Callable[[], Connections]
) -> None:
    hearers = [processes() for _ in range(3)]
    gate = asyncio.Event()
    for process in hearers:
        await subscribed(declare(process=process), gate)
    receipt = await declare().publish(1)

    early = await receipt.applied(timeout=0)  # one look
    waiting = asyncio.ensure_future(receipt.applied(timeout=10))
    gate.set()

    members = sorted(process.member for process in hearers)
    assert early == Applied(lagging=members)
    assert await waiting == Applied(applied=members)


async def test_a_receipt_outlives_a_lost_connection(
    declare: Declare,
    processes: Callable[[], Connections],
    plain: redis.Redis,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(membership_module, "_BEAT", 0.1)
    hearer, gate = processes(), asyncio.Event()
    await subscribed(declare(process=hearer), gate)
    receipt = await declare().publish(1)
    waiting = asyncio.ensure_future(receipt.applied(timeout=20))
    await eventually(lambda: plain.pubsub_numsub(f"{{{namespace}:news}}:applied")[0][1])

    for client in plain.client_list():
        if client["name"] == "castwork-pushes":
            plain.client_kill_filter(_id=client["id"])
    gate.set()

    assert await waiting == Applied(applied=[hearer.member])


async def test_nobody_waits_for_a_process_that_has_been_silent(
    declare: Declare, plain: redis.Redis, namespace: str
) -> None:
    plain.zadd(f"{{{namespace}:news}}:members", {"dead": 1})
    plain.hset(f"{{{namespace}:news}}:positions", "dead", '{"member":"dead","at":"0-0"}')

    assert await (await declare().publish(1)).applied(timeout=10) == Applied()


async def test_a_member_that_tells_nonsense_is_passed_over(
    declare: Declare, plain: redis.Redis, namespace: str
) -> None:
    now, _ = plain.time()
    for name, told in {"a": "{", "b": '{"member":"b","at":"x"}'}.items():
        plain.zadd(f"{{{namespace}:news}}:members", {name: now * 1000})
        plain.hset(f"{{{namespace}:news}}:positions", name, told)

    assert await (await declare().publish(1)).applied(timeout=10) == Applied()


async def test_a_receipt_of_a_plain_channel_cannot_tell(declare: Declare, namespace: str) -> None:
    receipt = await declare(f"{namespace}:orders", history=0).publish(1)

    with pytest.raises(DefinitionError, match="history="):
        await receipt.applied()


async def test_a_position_names_its_version(
    declare: Declare, plain: redis.Redis, namespace: str
) -> None:
    await subscribed(declare())

    [told] = plain.hgetall(f"{{{namespace}:news}}:positions").values()

    assert json.loads(told)["v"] == 1


def test_a_position_of_a_later_version_is_read() -> None:
    position = decode_position(b'{"v":9,"member":"a","at":"1-0","color":"red"}')

    assert (position.v, position.member, position.at, position.failed) == (9, "a", "1-0", {})
    with pytest.raises(UndecodableEntry):
        decode_position(b"[]")


async def test_only_events_that_ask_are_answered_at_once(
    declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership_module, "_BEAT", 3600.0)
    channel = declare()
    await subscribed(channel)
    histories = channel._histories
    members = Members.of_channel(histories.place)
    inbox = Inbox()
    await members.listen(inbox)

    quiet = [await histories.append(b"%d" % number, 10, asks=False) for number in range(3)]
    asking = await histories.append(b"3", 10)

    answers = []
    async with asyncio.timeout(10):
        while not any(position.at == asking for position in answers):
            await inbox.wait()
            answers += [decode_position(told) for told in inbox.take()]
    members.unlisten(inbox)
    assert [position.at for position in answers if position.at in quiet] == []


async def test_an_error_on_an_event_that_asks_nobody_is_told_with_the_next_sign_of_life(
    declare: Declare,
) -> None:
    channel = declare()
    members = Members.of_channel(channel._histories.place)
    await channel._histories.place.link()
    membership = Membership(members, at="0-0")
    membership.handled("1-0", "ValueError: no", asks=False)

    await membership.join()

    [told] = await members.alive()
    assert decode_position(told.info).failed == {"1-0": "ValueError: no"}
    await membership.leave()
    assert await members.alive() == []
