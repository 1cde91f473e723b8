"""Members, on a real server: signs of life of subscribers and workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis

from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.redis.inbox import Inbox
from castwork.store.keys import ChannelKeys, WorkerKeys
from castwork.store.members import Members
from castwork.store.place import ChannelPlace, RegisterPlace

SILENT_MS = 15_000


@pytest.fixture
async def connections(server_url: str) -> AsyncIterator[Connections]:
    made = Connections(lambda: server_url, LinkSettings())
    yield made
    await made.close()


@pytest.fixture
def keys(namespace: str) -> ChannelKeys:
    return ChannelKeys.of(namespace, "news")


@pytest.fixture
def members(connections: Connections, keys: ChannelKeys) -> Members:
    return Members.of_channel(ChannelPlace(connections, "news", keys))


async def test_who_beats_is_alive_with_what_it_said_last(members: Members) -> None:
    await members.beat("b", b'{"n": 1}', SILENT_MS)
    await members.beat("a", b"{}", SILENT_MS)
    await members.beat("b", b'{"n": 2}', SILENT_MS)

    alive = {member.name: member for member in await members.alive()}

    assert {name: member.info for name, member in alive.items()} == {"a": b"{}", "b": b'{"n": 2}'}
    assert all(0 <= member.silent_for < 10 for member in alive.values())


async def test_who_leaves_is_gone(members: Members, plain: redis.Redis, keys: ChannelKeys) -> None:
    await members.beat("a", b"{}", SILENT_MS)
    await members.leave("a")
    await members.leave("a")

    assert await members.alive() == []
    assert plain.exists(keys.members, keys.positions) == 0


async def test_silence_is_counted_and_forgotten_after_a_while(
    members: Members, plain: redis.Redis, keys: ChannelKeys
) -> None:
    await members.beat("old", b"{}", SILENT_MS)
    plain.zadd(keys.members, {"old": (time.time() - 60) * 1000})

    [old] = await members.alive()
    assert 55 < old.silent_for < 65

    await members.beat("new", b"{}", SILENT_MS)
    assert [member.name for member in await members.alive()] == ["new"]
    assert plain.hkeys(keys.positions) == [b"new"]


async def test_who_said_nothing_about_itself_is_passed_over(
    members: Members, plain: redis.Redis, keys: ChannelKeys
) -> None:
    plain.zadd(keys.members, {"mute": time.time() * 1000})

    assert await members.alive() == []


async def test_a_sign_of_life_is_announced_when_it_is_to_be(members: Members) -> None:
    inbox = Inbox()
    await members.listen(inbox)

    await members.beat("a", b"quiet", SILENT_MS)
    await members.beat("a", b"loud", SILENT_MS, members.news)

    await asyncio.wait_for(inbox.wait(), 5)
    assert inbox.take() == [b"loud"]
    members.unlisten(inbox)


@pytest.mark.one_server("a cluster has one database only")
async def test_news_of_another_database_have_its_number(server_url: str, keys: ChannelKeys) -> None:
    other = Connections(lambda: f"{server_url}?db=2", LinkSettings())
    members = Members.of_channel(ChannelPlace(other, "news", keys))
    try:
        await members.beat("a", b"{}", SILENT_MS)
        assert members.news == f"{keys.applied}@2"
        assert members.own_name == other.member
    finally:
        await other.close()


async def test_workers_are_on_a_register_of_their_own(
    connections: Connections, namespace: str, plain: redis.Redis
) -> None:
    workers = Members.of_workers(RegisterPlace(connections, namespace))
    await workers.beat("w1", b'{"id": "w1"}', 30_000)

    [worker] = await workers.alive()

    assert (worker.name, worker.info) == ("w1", b'{"id": "w1"}')
    assert workers.news == ""
    assert plain.zcard(WorkerKeys(namespace).register) == 1
