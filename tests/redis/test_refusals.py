"""Calls that the server refuses: what is sent again, when, and what callers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis
from tests.redis.links import REFUSES, connected, fake_server, link_to, lost

from castwork.embedded import EmbeddedServer
from castwork.model.errors import (
    ConnectionFailed,
    EffectUnknown,
    NotOpen,
    OutOfMemory,
    PersistenceFailed,
)
from castwork.redis.address import Endpoint
from castwork.redis.link import Link
from castwork.redis.replies import Asked, Moved

LATER = ["TRYAGAIN keys are moving", "CLUSTERDOWN no primary", "BUSY a script", "NOREPLICAS none"]


@pytest.fixture
def own_server() -> Iterator[tuple[str, redis.Redis]]:
    """A server that a test may turn into a replica."""
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        yield server.url, client


@pytest.mark.parametrize("refusal", LATER)
async def test_what_is_refused_for_now_is_sent_again(
    link: Link, namespace: str, refusal: str
) -> None:
    gone = lost(link)

    runs = await link.call("EVAL", REFUSES, 1, namespace, 3, refusal, idempotent=False)

    assert runs == 4
    assert not gone.is_set()


@pytest.mark.parametrize("refusal", LATER)
async def test_neighbours_of_a_refused_call_are_not_held_up(
    link: Link, namespace: str, refusal: str
) -> None:
    refused = link.call("EVAL", REFUSES, 1, namespace, 2, refusal)
    neighbours = [link.call("INCR", f"{namespace}:n", idempotent=False) for _ in range(20)]

    assert await asyncio.gather(*neighbours) == list(range(1, 21))
    assert not refused.done()
    assert await refused == 3


@pytest.mark.parametrize("refusal", LATER)
async def test_a_call_that_is_refused_until_its_deadline_says_that_nothing_was_done(
    link: Link, namespace: str, refusal: str
) -> None:
    with pytest.raises(ConnectionFailed, match="nothing was done") as caught:
        await link.call("EVAL", REFUSES, 1, namespace, 10**9, refusal, timeout=0.4)

    assert not isinstance(caught.value, EffectUnknown)
    assert refusal in str(caught.value)
    assert await link.call("ECHO", "x") == b"x"


async def test_calls_that_are_refused_together_keep_their_order(
    link: Link, plain: redis.Redis, namespace: str
) -> None:
    script = (
        "if redis.call('INCR', KEYS[1]) <= 40 then return redis.error_reply('TRYAGAIN x') end"
        " return redis.call('RPUSH', KEYS[2], ARGV[1])"
    )
    keys = (f"{{{namespace}}}:n", f"{{{namespace}}}:list")

    await asyncio.gather(
        *(link.call("EVAL", script, 2, *keys, i, idempotent=False) for i in range(20))
    )

    assert plain.lrange(keys[1], 0, -1) == [b"%d" % i for i in range(20)]


async def test_a_redirect_is_an_error_that_says_where_to_go(link: Link, namespace: str) -> None:
    gone = lost(link)
    for code, kind in (("MOVED", Moved), ("ASK", Asked)):
        with pytest.raises(kind) as caught:
            await link.call("EVAL", REFUSES, 1, namespace, 9, f"{code} 7 10.0.0.1:6381")
        assert caught.value.slot == 7
        assert caught.value.endpoint(link.endpoint) == Endpoint("10.0.0.1", 6381)

    assert not gone.is_set()


async def test_a_server_that_is_full_or_cannot_save_raises_at_once(
    link: Link, namespace: str
) -> None:
    for refusal, kind in (("OOM no memory", OutOfMemory), ("MISCONF no disk", PersistenceFailed)):
        with pytest.raises(kind):
            await link.call("EVAL", REFUSES, 1, namespace, 9, refusal)


async def test_closing_ends_calls_that_wait_to_be_sent_again(link: Link, namespace: str) -> None:
    refused = link.call("EVAL", REFUSES, 1, namespace, 10**9, "BUSY a script")
    await link.call("PING")  # the refusal has come before this reply

    await link.close()

    with pytest.raises(NotOpen):
        await refused


async def test_calls_that_wait_to_be_sent_again_outlive_their_connection(
    link: Link, plain: redis.Redis, namespace: str
) -> None:
    refused = link.call("EVAL", REFUSES, 1, namespace, 1, "BUSY a script", idempotent=False)
    await link.call("PING")
    again = connected(link)
    plain.client_kill_filter(_id=str(link.client_id))
    await asyncio.wait_for(again.wait(), 5)

    assert await refused == 2


async def test_a_replica_is_left_until_it_is_a_primary(
    own_server: tuple[str, redis.Redis],
) -> None:
    url, client = own_server
    link = link_to(url)
    await link.open()
    gone = lost(link)
    client.replicaof("127.0.0.1", 1)

    calls = [link.call("INCR", "n", idempotent=False) for _ in range(50)]
    await asyncio.wait_for(gone.wait(), 5)
    client.replicaof("NO", "ONE")

    # All answers were read before the connection was given up: each call is known to be undone.
    assert sorted(await asyncio.gather(*calls)) == list(range(1, 51))
    await link.close()


async def test_a_server_that_cannot_serve_is_heard_out_before_it_is_left() -> None:
    seen: list[bytes] = []

    def handle(words: list[bytes]) -> bytes | None:
        seen.append(words[-1])
        return b"-READONLY replica\r\n" if len(seen) in (1, 3) else b"+%b\r\n" % words[-1]

    async with fake_server(handle) as url:
        link = link_to(url)
        await link.open()

        calls = [link.call("ECHO", name, idempotent=False) for name in "abc"]

        assert await asyncio.wait_for(asyncio.gather(*calls), 5) == [b"a", b"b", b"c"]
        assert seen == [b"a", b"b", b"c", b"a", b"c"]
        await link.close()


async def test_a_silent_server_that_cannot_serve_is_left_all_the_same() -> None:
    def handle(words: list[bytes]) -> bytes | None:
        return {b"GET": b"-MASTERDOWN no\r\n", b"BLPOP": b""}.get(words[0], b"+OK\r\n")

    async with fake_server(handle) as url:
        link = link_to(url)
        await link.open()
        gone = lost(link)
        refused = link.call("GET", "a", timeout=0.5)
        silent = link.call("BLPOP", "a", 0, idempotent=False)

        await asyncio.wait_for(gone.wait(), 5)

        with pytest.raises(EffectUnknown):
            await silent
        with pytest.raises(ConnectionFailed, match="MASTERDOWN"):
            await refused
        await link.close()


async def test_a_call_is_repeated_after_a_refusal_but_not_after_a_loss() -> None:
    seen: list[bytes] = []

    def handle(words: list[bytes]) -> bytes | None:
        if words[0] != b"INCR":
            return b"+OK\r\n"
        seen.append(words[1])
        return b"-READONLY replica\r\n" if len(seen) == 1 else None

    async with fake_server(handle) as url:
        link = link_to(url)
        await link.open()

        with pytest.raises(EffectUnknown):
            await link.call("INCR", "n", idempotent=False)

        assert await link.call("PING") == b"OK"
        assert len(seen) == 2
        await link.close()


async def test_a_loading_server_is_not_besieged() -> None:
    greeted = 0

    def handle(words: list[bytes]) -> bytes | None:
        nonlocal greeted
        if words[0] == b"PING":
            greeted += 1
            return b"-LOADING Redis is loading\r\n"
        return b"+OK\r\n"

    async with fake_server(handle) as url:
        link = link_to(url)
        await link.open()

        with pytest.raises(ConnectionFailed, match="LOADING"):
            await link.call("PING", timeout=1.0)

        assert 2 <= greeted <= 40
        await link.close()
