"""The Link, on a real server that is killed, stopped and cut off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest
import redis

from castwork import LinkSettings
from castwork.embedded import EmbeddedServer
from castwork.model.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    EffectUnknown,
    NotOpen,
    ServerRefused,
)
from castwork.redis.address import parse_url
from castwork.redis.link import Link
from castwork.redis.pushes import Pushes
from castwork.redis.scripts import RETIRE, Scripts

QUICK = LinkSettings(call_timeout=5, ping_interval=0.5, ping_timeout=0.5)


@pytest.fixture
async def link(server_url: str) -> AsyncIterator[Link]:
    made = Link(parse_url(server_url), QUICK, name="test")
    await made.open()
    yield made
    await made.close()


def lost(link: Link) -> asyncio.Event:
    event = asyncio.Event()
    link.on_lost.append(event.set)
    return event


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
        link = Link(parse_url(server.url), QUICK, name="test")
        await link.open()
        gone = lost(link)
    await asyncio.wait_for(gone.wait(), 5)
    try:
        with pytest.raises(ConnectionFailed) as caught:
            await link.call("PING", timeout=0.6)
        assert not isinstance(caught.value, EffectUnknown)
    finally:
        await link.close()


async def test_a_call_that_was_sent_before_the_outage_is_not_said_to_be_undone() -> None:
    with EmbeddedServer() as server:
        link = Link(parse_url(server.url), QUICK, name="test")
        await link.open()
        waiting = asyncio.ensure_future(link.call("BLPOP", "never", 0, timeout=1.0))
    try:
        with pytest.raises(EffectUnknown):
            await waiting
    finally:
        await link.close()


async def test_a_silent_server_is_noticed_and_used_again() -> None:
    with EmbeddedServer(port=0) as server:
        link = Link(parse_url(server.url), QUICK, name="test")
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


async def test_a_script_is_sent_whole_when_the_server_forgot_it(
    link: Link, plain: redis.Redis, namespace: str
) -> None:
    plain.script_flush()
    scripts = Scripts(link)

    assert await scripts.run(RETIRE, [namespace], ["g", "", 1]) == 0
    assert plain.script_exists(RETIRE.sha) == [True]


class Heard:
    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.resumed = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        self.messages.put_nowait(payload)

    def on_resumed(self) -> None:
        self.resumed.set()


@pytest.fixture
async def pushes(server_url: str) -> AsyncIterator[Pushes]:
    made = Pushes(parse_url(server_url), QUICK, name="test-pushes")
    await made.open()
    yield made
    await made.close()


async def test_listeners_share_one_subscription(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    first, second = Heard(), Heard()
    await asyncio.gather(pushes.add(namespace, first), pushes.add(namespace, second))

    assert plain.publish(namespace, "a") == 1
    assert await first.messages.get() == await second.messages.get() == b"a"

    pushes.remove(namespace, first)
    assert plain.publish(namespace, "b") == 1
    assert await second.messages.get() == b"b"
    assert first.messages.empty()


async def test_the_last_listener_ends_the_subscription(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    heard = Heard()
    await pushes.add(namespace, heard)
    pushes.remove(namespace, heard)
    await pushes.add(namespace + "2", heard)  # the server has then seen both

    assert plain.publish(namespace, "a") == 0


async def test_listeners_know_that_the_connection_was_away(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    heard = Heard()
    await pushes.add(namespace, heard)
    for client in plain.client_list():
        if client["name"] == "test-pushes":
            plain.client_kill_filter(_id=client["id"])

    await asyncio.wait_for(heard.resumed.wait(), 5)

    plain.publish(namespace, "after")
    assert await asyncio.wait_for(heard.messages.get(), 5) == b"after"


async def test_a_refused_subscription_is_an_error_for_who_waits(
    server_url: str, plain: redis.Redis, namespace: str
) -> None:
    plain.execute_command("ACL", "SETUSER", namespace, "on", ">pw", "~*", "resetchannels", "+@all")
    address = msgspec.structs.replace(parse_url(server_url), username=namespace, password="pw")
    made = Pushes(address, QUICK, name="refused")
    await made.open()

    with pytest.raises(AuthenticationFailed, match="NOPERM"):
        await asyncio.wait_for(made.add("anything", Heard()), 5)

    assert made.is_connected
    await made.close()
    plain.execute_command("ACL", "DELUSER", namespace)
