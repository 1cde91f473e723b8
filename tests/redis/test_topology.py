"""Where a link connects to: asked anew each time, and a cluster of one node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis
from tests.eventually import eventually
from tests.redis.links import QUICK, connected, fresh_cluster, lost

from castwork.embedded import EmbeddedServer
from castwork.model.errors import ServerRefused, ServerUnavailable, ServerUnsupported
from castwork.redis.address import Endpoint, parse_url
from castwork.redis.link import Link
from castwork.redis.login import Login
from castwork.redis.server import read_server
from castwork.redis.slots import slot_of
from castwork.redis.topology import Single, open_topology


class Finder:
    """Says where the server is, and counts how often it was asked."""

    def __init__(self, *urls: str) -> None:
        self.urls = list(urls)
        self.asked = 0
        self.at = 0
        self.hangs = False

    async def __call__(self) -> Endpoint:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.at < 0:
            raise ServerUnavailable("nobody knows where the server is")
        return parse_url(self.urls[self.at]).seeds[0]

    def link(self) -> Link:
        return Link(self, QUICK, Login(), target=parse_url(self.urls[0]), name="test")


@pytest.fixture
def two() -> Iterator[Finder]:
    """Finds the first of two servers, until it is told to find the other."""
    with EmbeddedServer() as first, EmbeddedServer() as second:
        yield Finder(first.url, second.url)


async def url_of(link: Link) -> str:
    """Which of the two servers answers."""
    reply = await link.call("CONFIG", "GET", "unixsocket")
    return f"unix://{reply[b'unixsocket'].decode()}"


async def test_a_link_asks_where_the_server_is_each_time_it_connects(two: Finder) -> None:
    link = two.link()
    await link.open()
    assert (two.asked, str(link.endpoint)) == (1, two.urls[0])
    again = connected(link)
    two.at = 1

    await link.call("CLIENT", "KILL", "ID", link.client_id, "SKIPME", "no", idempotent=False)
    await asyncio.wait_for(again.wait(), 5)

    assert two.asked == 2
    assert await url_of(link) == two.urls[1] == str(link.endpoint)
    await link.close()


async def test_leaving_moves_the_calls_to_the_other_server(two: Finder) -> None:
    link = two.link()
    await link.open()
    waiting = link.call("BLPOP", "list", 0)
    two.at = 1

    link.leave()

    with redis.Redis.from_url(two.urls[1]) as second:
        second.rpush("list", "x")
    assert await asyncio.wait_for(waiting, 5) == [b"list", b"x"]
    assert str(link.endpoint) == two.urls[1]
    await link.close()


async def test_a_call_made_right_after_leaving_is_not_lost(two: Finder) -> None:
    link = two.link()
    await link.open()
    two.at = 1

    link.leave()

    assert await link.call("INCR", "n", idempotent=False) == 1
    assert await url_of(link) == two.urls[1]
    await link.close()


async def test_leaving_while_it_looks_for_the_server_begins_anew(two: Finder) -> None:
    link = two.link()
    await link.open()
    two.hangs = True
    link.leave()
    reply = link.call("PING")
    await eventually(lambda: two.asked == 2)
    two.hangs, two.at = False, 1

    link.leave()

    assert await asyncio.wait_for(reply, 2) == b"PONG"
    assert str(link.endpoint) == two.urls[1]
    await link.close()


async def test_a_link_looks_on_while_nobody_knows_the_server(two: Finder) -> None:
    link = two.link()
    await link.open()
    gone = lost(link)
    two.at = -1
    link.leave()
    assert gone.is_set()
    reply = link.call("PING")
    await eventually(lambda: two.asked >= 4)

    two.at = 1

    assert await asyncio.wait_for(reply, 5) == b"PONG"
    await link.close()


async def test_a_link_that_finds_nobody_at_first_does_not_open(two: Finder) -> None:
    two.at = -1

    with pytest.raises(ServerUnavailable, match="nobody knows"):
        await two.link().open()


@pytest.mark.one_server("a cluster joins no slots")
async def test_a_single_server_has_all_slots(server_url: str, namespace: str) -> None:
    topology = open_topology(parse_url(server_url), QUICK, Login())
    await topology.open()

    assert topology.joins_slots
    assert topology.links() == (topology.link_for(0),)
    assert topology.link_for(slot_of("a")) is topology.link_for(slot_of("b"))
    assert topology.endpoint_of(5) == await topology.find(5) == await topology.find(None)
    reader = await topology.dedicated(5, "test-reader", patience=1.0)
    assert reader is not topology.link_for(5)
    assert await reader.call("CLIENT", "GETNAME") == b"test-reader"

    await reader.close()
    await topology.close()


async def test_a_cluster_of_one_node_serves_and_joins_no_slots(cluster_url: str) -> None:
    topology = Single(parse_url(cluster_url), QUICK, Login())
    await topology.open()
    link = topology.link_for(0)

    assert not topology.joins_slots
    assert await asyncio.gather(*(link.call("SET", f"k{i}", i) for i in range(50)))
    assert await link.call("EVAL", "return redis.call('GET', KEYS[1])", 1, "k7") == b"7"
    with pytest.raises(ServerRefused, match="CROSSSLOT"):
        await link.call("MGET", "k1", "k2")
    assert await read_server(link) is not None

    await topology.close()


async def test_calls_wait_for_a_cluster_that_has_just_been_formed() -> None:
    with fresh_cluster() as url:
        topology = Single(parse_url(url), QUICK, Login())
        await topology.open()
        link = topology.link_for(0)
        gone = lost(link)

        # It answers CLUSTERDOWN for two seconds.
        numbers = await asyncio.gather(
            *(link.call("INCR", "n", idempotent=False) for _ in range(20))
        )

        assert numbers == list(range(1, 21))
        assert not gone.is_set()
        await topology.close()


async def test_a_cluster_has_no_other_database(cluster_url: str) -> None:
    topology = Single(parse_url(f"{cluster_url}?db=3"), QUICK, Login())

    with pytest.raises(ServerUnsupported, match="has database 0 only"):
        await topology.open()
