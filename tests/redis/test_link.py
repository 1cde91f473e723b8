"""The Link, on a real server that is killed, stopped and cut off."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import redis
from tests.redis.links import fake_server, link_to, lost

from castwork.embedded import EmbeddedServer
from castwork.model.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    EffectUnknown,
    NotOpen,
    ServerRefused,
    ServerUnavailable,
    ServerUnsupported,
)
from castwork.redis.link import Link


async def test_calls_of_one_tick_travel_together(link: Link, plain: redis.Redis) -> None:
    before = plain.info("stats")["total_reads_processed"]

    replies = await asyncio.gather(*(link.call("ECHO", i) for i in range(500)))

    reads = plain.info("stats")["total_reads_processed"] - before
    assert replies == [str(i).encode() for i in range(500)]
    # One lone call, one for the other 499, and those of the two INFO commands.
    assert reads <= 6


async def test_a_caller_that_leaves_does_not_shift_replies(link: Link) -> None:
    slow = asyncio.ensure_future(link.call("BLPOP", "never", 0.2))
    await asyncio.sleep(0)
    slow.cancel()

    assert await link.call("ECHO", "mine") == b"mine"


async def test_an_error_reply_is_the_callers_alone(link: Link) -> None:
    good, bad = link.call("ECHO", "a"), link.call("NOSUCH")

    assert await good == b"a"
    with pytest.raises(ServerRefused, match="unknown command"):
        await bad


async def test_an_idempotent_call_outlives_its_connection(
    link: Link, plain: redis.Redis, namespace: str
) -> None:
    waiting = link.call("BLPOP", namespace, 0)
    gone = lost(link)
    plain.client_kill_filter(_id=str(link.client_id))
    await asyncio.wait_for(gone.wait(), 5)

    plain.rpush(namespace, "x")

    assert await waiting == [namespace.encode(), b"x"]


async def test_a_call_that_must_not_be_repeated_is_not(
    link: Link, plain: redis.Redis, namespace: str
) -> None:
    waiting = link.call("BLPOP", namespace, 0, idempotent=False)
    plain.client_kill_filter(_id=str(link.client_id))

    with pytest.raises(EffectUnknown):
        await waiting

    plain.rpush(namespace, "x")
    assert await link.call("LLEN", namespace) == 1


async def test_calls_wait_while_the_server_is_away_then_say_that_nothing_was_done() -> None:
    with EmbeddedServer() as server:
        link = link_to(server.url)
        await link.open()
        gone = lost(link)
    await asyncio.wait_for(gone.wait(), 5)
    try:
        with pytest.raises(ConnectionFailed, match="nothing was done") as caught:
            await link.call("PING", timeout=0.6)
        assert not isinstance(caught.value, EffectUnknown)
    finally:
        await link.close()


async def test_a_call_that_was_sent_before_the_outage_is_not_said_to_be_undone() -> None:
    with EmbeddedServer() as server:
        link = link_to(server.url)
        await link.open()
        waiting = asyncio.ensure_future(link.call("BLPOP", "never", 0, timeout=1.0))
    try:
        with pytest.raises(EffectUnknown):
            await waiting
    finally:
        await link.close()


async def test_a_silent_server_is_noticed_and_used_again() -> None:
    with EmbeddedServer(port=0) as server:
        link = link_to(server.url)
        await link.open()
        gone = lost(link)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await asyncio.wait_for(gone.wait(), 10)
        finally:
            os.kill(server.pid, signal.SIGCONT)

        assert await link.call("PING") == b"PONG"
        await link.close()


async def test_closing_ends_calls_that_wait(link: Link) -> None:
    waiting = link.call("BLPOP", "never", 0)

    await link.close()

    with pytest.raises(NotOpen):
        await waiting
    with pytest.raises(NotOpen):
        link.call("PING")


@pytest.mark.parametrize("name", ["two words", "zeilen\numbruch", "müller", "a%b"])
async def test_any_name_is_shown_in_a_form_that_the_server_takes(
    server_url: str, plain: redis.Redis, name: str
) -> None:
    link = link_to(server_url, name=name)
    await link.open()

    shown = plain.client_list(client_id=[link.client_id])[0]["name"]

    assert shown
    assert shown.isascii()
    assert " " not in shown
    await link.close()


async def test_a_refused_name_decides_nothing() -> None:
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-client|setname")
        link = link_to(server.url)

        await link.open()

        assert await link.call("PING") == b"PONG"
        await link.close()


async def test_a_wrong_password_says_so(
    server_url: str, plain: redis.Redis, namespace: str
) -> None:
    plain.execute_command("ACL", "SETUSER", namespace, "on", ">right", "+@all")
    link = link_to(f"{server_url}?username={namespace}&password=no")

    with pytest.raises(AuthenticationFailed, match="refused the login: WRONGPASS") as caught:
        await link.open()

    assert "=no" not in str(caught.value)
    plain.execute_command("ACL", "DELUSER", namespace)


async def test_nobody_at_the_address_says_so() -> None:
    link = link_to("redis://127.0.0.1:1")

    with pytest.raises(ServerUnavailable, match="no Redis or Valkey at 127.0.0.1:1"):
        await link.open()
    with pytest.raises(NotOpen):
        link.call("PING")


@pytest.mark.one_server("a cluster has one database only")
async def test_a_database_that_the_server_does_not_have_is_refused(server_url: str) -> None:
    link = link_to(f"{server_url}?db=99")

    with pytest.raises(ServerUnsupported, match="database 99"):
        await link.open()


async def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    async with fake_server(lambda words: b"+1\r\n+2\r\n+3\r\n") as url:
        link = link_to(url)
        await link.open()
        gone = lost(link)

        assert await link.call("ECHO", "x") == b"1"

        await asyncio.wait_for(gone.wait(), 5)
        await link.close()
