"""Subscriptions: who hears what, who is refused, and what a lost connection does to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from tests.redis.links import QUICK, fake_server

from castwork.embedded import EmbeddedServer
from castwork.model.credentials import Credentials
from castwork.model.errors import AuthenticationFailed, NotOpen
from castwork.model.retry import Backoff
from castwork.redis.address import parse_url
from castwork.redis.link import Link
from castwork.redis.login import Login
from castwork.redis.pushes import Pushes
from castwork.redis.topology import Single


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.resumed = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        self.messages.put_nowait(payload)

    def on_resumed(self) -> None:
        self.resumed.set()

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.messages.get(), 5)


def pushes_to(url: str, login: Login | None = None, name: str = "test-pushes") -> Pushes:
    target, login = parse_url(url), login or Login()
    topology = Single(target, QUICK, login)
    return Pushes(lambda: topology.find(None), QUICK, login, target=target, name=name)


def link_of(pushes: Pushes) -> Link:
    """The connection of the subscriptions, for calls that share it."""
    return pushes._link


@pytest.fixture
async def pushes(server_url: str) -> AsyncIterator[Pushes]:
    made = pushes_to(server_url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def narrow(any_plain: redis.Redis, namespace: str) -> Iterator[Login]:
    """A login that may hear the Redis channels `ok*` only."""
    may = ("on", ">pw", "~*", "resetchannels", "&ok*", "+@all")
    any_plain.execute_command("ACL", "SETUSER", namespace, *may)
    yield Login(Credentials(namespace, "pw"))
    any_plain.execute_command("ACL", "DELUSER", namespace)


@pytest.fixture
async def narrowed(any_url: str, narrow: Login) -> AsyncIterator[Pushes]:
    made = pushes_to(any_url, narrow)
    await made.open()
    yield made
    await made.close()


async def test_listeners_share_one_subscription(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    first, second = Heard(), Heard()
    await asyncio.gather(pushes.add(namespace, first), pushes.add(namespace, second))

    assert plain.publish(namespace, "a") == 1
    assert await first.next() == await second.next() == b"a"

    pushes.remove(namespace, first)
    assert plain.publish(namespace, "b") == 1
    assert await second.next() == b"b"
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
    plain.client_kill_filter(_id=str(link_of(pushes).client_id))

    await asyncio.wait_for(heard.resumed.wait(), 5)

    plain.publish(namespace, "after")
    assert await heard.next() == b"after"


async def test_a_listener_that_comes_during_an_outage_waits_for_its_end(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    await pushes.add(namespace, Heard())
    gone = asyncio.Event()
    link_of(pushes).on_lost.append(gone.set)
    plain.client_kill_filter(_id=str(link_of(pushes).client_id))
    await asyncio.wait_for(gone.wait(), 5)
    heard = Heard()

    await asyncio.wait_for(pushes.add(namespace, heard), 5)

    plain.publish(namespace, "after")
    assert await heard.next() == b"after"


async def test_callers_keep_their_replies_while_a_subscription_is_refused(
    narrowed: Pushes, any_plain: redis.Redis, namespace: str
) -> None:
    values = {f"{namespace}:{i}": b"v%d" % i for i in range(30)}
    any_plain.mset(values)
    link, calls, refused = link_of(narrowed), [], []

    for i, key in enumerate(values):
        calls.append(link.call("GET", key))
        if i % 3 == 0:
            refused.append(asyncio.ensure_future(narrowed.add(f"secret{i}", Heard())))
            await asyncio.sleep(0)  # it is sent at the end of a tick
            await asyncio.sleep(0)

    assert await asyncio.wait_for(asyncio.gather(*calls), 5) == list(values.values())
    ends = await asyncio.wait_for(asyncio.gather(*refused, return_exceptions=True), 5)
    assert {type(end) for end in ends} == {AuthenticationFailed}
    assert narrowed.is_connected


async def test_only_the_refused_of_many_names_fail(
    narrowed: Pushes, any_plain: redis.Redis
) -> None:
    heard = {name: Heard() for name in ("ok1", "no1", "ok2", "no2", "ok3")}

    ends = await asyncio.gather(
        *(narrowed.add(name, listener) for name, listener in heard.items()),
        return_exceptions=True,
    )

    refused = [name for name, end in zip(heard, ends, strict=True) if end is not None]
    assert refused == ["no1", "no2"]
    for name in ("ok1", "ok2", "ok3"):
        assert any_plain.publish(name, name) == 1
        assert await heard[name].next() == name.encode()


async def test_all_who_wait_for_a_refused_name_are_told(narrowed: Pushes) -> None:
    ends = await asyncio.gather(
        *(narrowed.add("no", Heard()) for _ in range(3)), return_exceptions=True
    )

    assert [type(end) for end in ends] == [AuthenticationFailed] * 3
    await asyncio.wait_for(narrowed.add("ok", Heard()), 5)


async def test_a_right_lost_while_away_takes_no_other_channel_with_it(
    narrowed: Pushes, any_plain: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pushes, "_ASK_AGAIN", Backoff(base=0.05, longest=0.05))
    kept, taken = Heard(), Heard()
    await narrowed.add("ok-kept", kept)
    await narrowed.add("ok-taken", taken)

    # The server itself drops the connection, as it hears more than it may.
    any_plain.execute_command("ACL", "SETUSER", namespace, "resetchannels", "&ok-kept")
    await asyncio.wait_for(kept.resumed.wait(), 5)
    assert any_plain.publish("ok-kept", "a") == 1
    assert any_plain.publish("ok-taken", "a") == 0
    assert await kept.next() == b"a"
    with pytest.raises(AuthenticationFailed):
        await asyncio.wait_for(narrowed.add("ok-taken", Heard()), 5)
    assert not taken.resumed.is_set()

    any_plain.execute_command("ACL", "SETUSER", namespace, "&ok-taken")
    await asyncio.wait_for(taken.resumed.wait(), 5)
    assert any_plain.publish("ok-taken", "b") == 1
    assert await taken.next() == b"b"


async def test_callers_and_listeners_stay_in_step_in_a_storm(
    narrowed: Pushes, any_plain: redis.Redis, namespace: str
) -> None:
    draw = random.Random(7)
    link, names = link_of(narrowed), ["ok1", "ok2", "ok3", "no1", "no2"]

    async def listen() -> None:
        for _ in range(60):
            name, heard = draw.choice(names), Heard()
            try:
                await narrowed.add(name, heard)
            except AuthenticationFailed:
                assert name.startswith("no")
                continue
            assert name.startswith("ok")
            any_plain.publish(name, "x")
            assert await heard.next() == b"x"
            narrowed.remove(name, heard)

    async def ask(caller: int) -> None:
        for i in range(200):
            assert await link.call("ECHO", f"{caller}.{i}") == f"{caller}.{i}".encode()
            if i % 20 == 0:
                any_plain.publish("ok-noise", "noise")

    await narrowed.add("ok-noise", Heard())
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for caller in range(6):
            group.create_task(ask(caller))
            group.create_task(listen())


async def test_a_subscription_that_is_refused_for_now_is_made_later() -> None:
    asked: list[list[bytes]] = []

    def handle(words: list[bytes]) -> bytes | None:
        asked.append(words)
        if len(asked) <= 2:
            return b"-BUSY a script keeps the server busy\r\n"
        return b">3\r\n$%d\r\n%s\r\n$1\r\na\r\n:1\r\n" % (len(words[0]), words[0].lower())

    async with fake_server(handle) as url:
        made = pushes_to(url)
        await made.open()

        await asyncio.wait_for(made.add("a", Heard()), 5)

        assert asked == [[b"SUBSCRIBE", b"a"]] * 3
        await made.close()


async def test_a_failing_listener_does_not_silence_the_others(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    class Bad(Heard):
        def on_message(self, payload: bytes) -> None:
            raise RuntimeError(payload)

    good = Heard()
    await pushes.add(namespace, Bad())
    await pushes.add(namespace, good)

    plain.publish(namespace, "a")

    assert await good.next() == b"a"


async def test_many_channels_come_back_after_an_outage(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    heard = {f"{namespace}:{i}": Heard() for i in range(1200)}
    await asyncio.gather(*(pushes.add(name, listener) for name, listener in heard.items()))
    plain.client_kill_filter(_id=str(link_of(pushes).client_id))

    for listener in heard.values():
        await asyncio.wait_for(listener.resumed.wait(), 10)

    assert {plain.publish(name, "x") for name in heard} == {1}


async def test_closing_tells_listeners_and_those_who_wait() -> None:
    with EmbeddedServer() as server:
        made = pushes_to(server.url)
        await made.open()
        heard = Heard()
        await made.add("a", heard)
        waiting = asyncio.ensure_future(made.add("b", Heard()))
        await asyncio.sleep(0)

        await made.close()

        with pytest.raises(NotOpen):
            await waiting
        assert heard.resumed.is_set()


async def test_who_stops_waiting_listens_no_longer(
    pushes: Pushes, plain: redis.Redis, namespace: str
) -> None:
    waiting = asyncio.ensure_future(pushes.add(namespace, Heard()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await pushes.add(namespace + "2", Heard())  # the server has then seen both

    assert plain.publish(namespace, "a") == 0
