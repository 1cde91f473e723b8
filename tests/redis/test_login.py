"""Logins that are renewed, and connections that follow without a break."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.redis.links import QUICK, link_to, lost
from tests.redis.test_pushes import Heard, pushes_to

from castwork.embedded import EmbeddedServer
from castwork.model.credentials import Credentials
from castwork.model.errors import AuthenticationFailed, ServerUnavailable
from castwork.redis.address import parse_url
from castwork.redis.link import Link
from castwork.redis.login import Login, _time_to_next_look, _time_to_renewal
from castwork.redis.thread_link import ThreadLink
from castwork.redis.topology import Single


class Rotating:
    """A source like those of clouds: each login is a new one, and old ones are thrown out."""

    def __init__(self, plain: redis.Redis, *, life: float, keep: int = 2) -> None:
        self.names: list[str] = []
        self._plain = plain
        self.life = life
        self._keep = keep
        self.fails = False
        #: What goes wrong at every second call: "fails", "hangs" or "expired".
        self.trouble = ""
        self._calls = 0

    async def __call__(self) -> Credentials:
        self._calls += 1
        trouble = self.trouble if self._calls % 2 == 0 else ""
        if self.fails or trouble == "fails":
            raise RuntimeError("the source is away")
        if trouble == "hangs":
            await asyncio.Event().wait()
        if trouble == "expired":
            return Credentials("u", "p", time.time() - 1)
        name, password = f"u{secrets.token_hex(4)}", secrets.token_hex(8)
        rights = ("on", f">{password}", "~*", "&*", "+@all")
        self._plain.execute_command("ACL", "SETUSER", name, *rights)
        self.names.append(name)
        if len(self.names) > self._keep:
            # This also drops every connection that is still logged in as that user.
            self._plain.execute_command("ACL", "DELUSER", self.names[-self._keep - 1])
        return Credentials(name, password, time.time() + self.life)


@pytest.fixture
def root() -> Iterator[tuple[str, redis.Redis]]:
    """A server of its own, and its administrator."""
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        yield server.url, client


def fixed_life(*lives: float) -> Login:
    """A login whose source gives one password after the other, each for so many seconds."""
    given = iter(lives)
    number = 0

    async def source() -> Credentials:
        nonlocal number
        number += 1
        return Credentials("u", f"p{number}", time.time() + next(given))

    return Login(source=source, retry_after=0.05, patience=0.2)


async def renewed(login: Login) -> None:
    event = asyncio.Event()
    login.on_renewed.append(event.set)
    await asyncio.wait_for(event.wait(), 5)
    login.on_renewed.remove(event.set)


async def test_a_fixed_login_stays_as_it_is() -> None:
    login = Login(Credentials("u", "p"))

    assert await login.ready() == login.current == (0, Credentials("u", "p"))
    assert await Login().ready() == (0, None)


async def test_a_source_is_asked_once_by_all_who_connect_together() -> None:
    login = fixed_life(60.0)

    ready = await asyncio.gather(*(login.ready() for _ in range(5)))

    assert {generation for generation, _ in ready} == {1}
    login.close()


def test_a_renewal_comes_when_60_to_70_percent_of_the_life_are_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    waits = [_time_to_renewal(Credentials("u", "p", 1100.0)) or 0.0 for _ in range(200)]
    assert 60.0 <= min(waits) < 64.0
    assert 66.0 < max(waits) <= 70.0


async def test_a_login_is_renewed_well_before_its_end() -> None:
    login = fixed_life(1.0, 60.0)
    await login.ready()

    await renewed(login)

    generation, credentials = login.current
    assert (generation, credentials and credentials.password) == (2, "p2")
    login.close()


async def test_a_renewal_that_fails_is_tried_again() -> None:
    calls = 0

    async def source() -> Credentials:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            raise RuntimeError("the source is away")
        return Credentials("u", f"p{calls}", time.time() + 0.2)

    login = Login(source=source, retry_after=0.02)
    await login.ready()

    await renewed(login)

    assert calls == 4
    assert login.generation == 2
    login.close()


async def test_an_expired_login_is_none() -> None:
    login = fixed_life(-1.0)

    with pytest.raises(AuthenticationFailed, match="expired"):
        await login.ready()
    login.close()


async def test_a_source_that_hangs_is_not_waited_for_without_end() -> None:
    async def source() -> Credentials:
        await asyncio.Event().wait()
        raise AssertionError

    login = Login(source=source, patience=0.05)

    with pytest.raises(AuthenticationFailed, match="within"):
        await login.ready()
    login.close()


async def test_a_plain_source_is_called_in_a_thread_and_does_not_hold_the_loop() -> None:
    entered, left = threading.Event(), threading.Event()

    def source() -> Credentials:
        entered.set()
        assert left.wait(5)
        return Credentials("u", "p")

    login = Login(source=source)
    ready = asyncio.ensure_future(login.ready())
    await eventually(entered.is_set)  # the loop runs while the source waits
    left.set()

    assert await ready == (1, Credentials("u", "p"))


async def test_a_plain_source_that_hangs_is_left_and_asked_again() -> None:
    calls: list[threading.Event] = []

    def source() -> Credentials:
        calls.append(threading.Event())
        if len(calls) == 1:
            calls[0].wait(30)
        return Credentials("u", f"p{len(calls)}")

    login = Login(source=source, retry_after=0.02, patience=0.05)
    with pytest.raises(AuthenticationFailed, match="within"):
        await login.ready()
    await eventually(lambda: login.generation == 1)  # tried again by itself

    assert login.current[1] == Credentials("u", "p2")
    calls[0].set()
    login.close()


@pytest.mark.parametrize("given", [None, "secret", ("u", "secret")])
async def test_what_is_no_login_is_refused_and_not_shown(given: Any) -> None:
    login = Login(source=lambda: given)

    with pytest.raises(AuthenticationFailed, match="no Credentials but") as caught:
        await login.ready()

    assert "secret" not in str(caught.value)
    login.close()


async def test_the_same_login_once_more_is_no_news_and_a_new_one_is_awaited() -> None:
    end, calls = time.time() + 60, 0

    def source() -> Credentials:
        nonlocal calls
        calls += 1
        # Sources that know how long a token lasts reckon its end anew each time.
        return Credentials("u", "old", end + calls) if calls < 3 else Credentials("u", "new")

    login = Login(source=source, retry_after=0.02)
    news: list[None] = []
    login.on_renewed.append(lambda: news.append(None))
    await login.ready()
    await login.renew()
    assert (login.generation, len(news)) == (1, 1)

    await eventually(lambda: login.generation == 2)

    assert (calls, len(news)) == (3, 2)
    assert login.current[1] == Credentials("u", "new")
    login.close()


async def test_a_source_is_asked_again_soon_while_it_keeps_a_login_that_ends_soon() -> None:
    calls: list[float] = []
    end = time.time() + 60

    def source() -> Credentials:
        calls.append(time.time())
        return Credentials("u", "p", end)

    login = Login(source=source, retry_after=0.01)
    await login.ready()  # the next look would be in 36 seconds
    await login.renew()

    await eventually(lambda: len(calls) >= 4)
    assert login.generation == 1
    login.close()


def test_a_source_that_keeps_its_login_is_asked_often_in_the_last_minutes() -> None:
    assert 0.59 * 1200 < _wait_of(1200) <= 0.7 * 1200
    assert 190 < _wait_of(440) <= 200  # not 0.6 of it
    assert 29 < _wait_of(240) <= 30
    assert _wait_of(10) < 7


def _wait_of(left: float) -> float:
    wait = _time_to_next_look(Credentials("u", "p", time.time() + left), 30.0)
    assert wait is not None
    return wait


async def test_a_refused_login_without_an_end_is_asked_for_anew(
    root: tuple[str, redis.Redis],
) -> None:
    url, plain = root
    passwords = ["p1"]
    plain.execute_command("ACL", "SETUSER", "u", "on", ">p1", "~*", "+@all")
    login = Login(source=lambda: Credentials("u", passwords[-1]), retry_after=0.02)
    link = link_to(url, login=login)
    await link.open()
    plain.execute_command("ACL", "SETUSER", "u", "resetpass", ">p2")
    passwords.append("p2")
    plain.execute_command("CLIENT", "KILL", "USER", "u")

    assert await link.call("ACL", "WHOAMI") == b"u"
    assert login.current == (2, Credentials("u", "p2"))
    await link.close()
    login.close()


async def test_a_source_is_not_asked_at_each_refusal() -> None:
    calls: list[None] = []
    login = Login(source=lambda: calls.append(None) or Credentials("u", "p"), retry_after=60)
    await login.ready()

    for _ in range(3):
        login.refused(login.generation)
        await login.ready()

    assert len(calls) == 1


async def test_the_lease_thread_waits_for_a_server_that_is_slow_to_take_a_token(
    root: tuple[str, redis.Redis],
) -> None:
    url, plain = root
    target = parse_url(url)
    login = Login(source=lambda: Credentials("default", "token"))
    await login.ready()
    link, impatient = (
        ThreadLink(lambda: target.seeds[0], one, target=target, name="t", timeout=0.1)
        for one in (login, Login(Credentials("default", "password")))
    )
    plain.execute_command("CLIENT", "PAUSE", 600, "ALL")

    with pytest.raises(ServerUnavailable):
        impatient.call("PING")
    assert link.call("PING") == b"PONG"
    login._current = (2, Credentials("default", "another"))
    connection = link.call("CLIENT", "ID")

    assert link.call("CLIENT", "ID") == connection
    assert link._generation == 2
    link.close()
    login.close()


async def test_a_connection_lost_at_a_renewal_does_not_fail_the_command(
    root: tuple[str, redis.Redis],
) -> None:
    url, plain = root
    target = parse_url(url)
    login = Login(source=lambda: Credentials("default", "token"))
    await login.ready()
    link = ThreadLink(lambda: target.seeds[0], login, target=target, name="t", timeout=5)
    link.call("PING")
    login._current = (2, Credentials("default", "another"))
    ask = link._ask

    def lose(sock: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
        if commands[0][0] == "AUTH":
            raise ConnectionResetError
        return ask(sock, commands)

    link._ask = lose  # type: ignore[method-assign]

    assert link.call("PING") == b"PONG"
    assert link.call("ACL", "WHOAMI") == b"default"  # over another connection
    link.close()
    login.close()


def test_credentials_do_not_show_the_password() -> None:
    assert "secret" not in f"{Credentials('u', 'secret')} {Credentials('u', 'secret')!r}"


class Load:
    """Keeps every kind of connection of a process busy, and notes losses and errors."""

    def __init__(self, url: str, login: Login, name: str) -> None:
        self._login = login
        self._name = name
        self._target = parse_url(url)
        self._topology = Single(self._target, QUICK, login)
        self._pushes = pushes_to(url, login)
        self._heard = Heard()
        self._end = threading.Event()
        self.lost: list[asyncio.Event] = []

    async def run(self, end: Callable[[], Awaitable[None]]) -> None:
        """Open all, and work until `end` returns."""
        await self._topology.open()
        await self._pushes.open()
        reader = await self._topology.dedicated(0, "test-read", patience=0.2)
        await self._pushes.add(self._name, self._heard)
        commands = self._topology.link_for(0)
        self.lost = [lost(commands), lost(reader), lost(self._pushes._link)]
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for work in (self._ask(commands), self._read(reader), self._hear(commands)):
                group.create_task(work)
            group.create_task(asyncio.to_thread(self._renew))
            await end()
            self._end.set()
        for opened in (reader, self._pushes, self._topology):
            await opened.close()

    async def _ask(self, link: Link) -> None:
        done = 0
        while not self._end.is_set():
            done += 1
            assert await link.call("INCR", f"{self._name}:n", idempotent=False) == done

    async def _read(self, link: Link) -> None:
        while not self._end.is_set():
            assert await link.call("BLPOP", f"{self._name}:none", 0.2) is None

    async def _hear(self, link: Link) -> None:
        while not self._end.is_set():
            assert await link.call("PUBLISH", self._name, "x", idempotent=False) == 1
            assert await self._heard.next() == b"x"

    def _renew(self) -> None:
        topology = self._topology
        link = ThreadLink(
            lambda: topology.endpoint_of(0),
            self._login,
            target=self._target,
            name="test-thread",
            timeout=5,
        )
        connection = link.call("CLIENT", "ID")
        while not self._end.wait(0.05):
            assert link.call("CLIENT", "ID") == connection
        link.close()


@pytest.mark.parametrize("trouble", ["", "fails", "hangs", "expired"])
async def test_every_connection_follows_a_login_that_rotates_under_load(
    root: tuple[str, redis.Redis], namespace: str, trouble: str
) -> None:
    url, plain = root
    source = Rotating(plain, life=0.6 if trouble else 1.0)
    source.trouble = trouble
    login = Login(source=source, retry_after=0.02, patience=0.1)
    load = Load(url, login, namespace)

    async def rotated() -> None:
        while login.generation < 6:
            await renewed(login)

    await load.run(rotated)

    assert not any(event.is_set() for event in load.lost)
    assert len(source.names) >= 6
    login.close()


async def test_a_server_that_is_slow_to_take_a_renewed_login_is_waited_for(
    root: tuple[str, redis.Redis],
) -> None:
    url, plain = root
    passwords = iter(["one", "two"])
    login = Login(source=lambda: Credentials("default", next(passwords)))
    link = link_to(url, login=login)
    await link.open()
    gone = lost(link)
    plain.execute_command("CLIENT", "PAUSE", 1600, "ALL")

    await login.renew()

    await eventually(lambda: link._relogin._generation == 2)
    assert not gone.is_set()
    await link.close()
    login.close()


async def test_a_refused_renewal_leaves_the_connection_as_it_is(
    root: tuple[str, redis.Redis],
) -> None:
    url, plain = root
    plain.execute_command("ACL", "SETUSER", "u", "on", ">p1", "~*", "+@all")
    login = fixed_life(60.0, 60.0)
    link = link_to(url, login=login)
    await link.open()
    gone = lost(link)

    await login.renew()  # the server does not know that password
    await link.call("PING")
    await link.call("PING")

    assert not gone.is_set()
    assert await link.call("ACL", "WHOAMI") == b"u"
    plain.execute_command("ACL", "SETUSER", "u", ">p2")
    await eventually(lambda: link._relogin._generation == 2)  # tried again, and accepted
    await link.close()
    login.close()


async def test_a_login_that_ended_while_away_is_asked_for_anew(
    root: tuple[str, redis.Redis],
) -> None:
    url, plain = root
    source = Rotating(plain, life=0.5, keep=1)
    login = Login(source=source, retry_after=60)
    link = link_to(url, login=login)
    await link.open()
    gone = lost(link)
    source.fails = True
    plain.execute_command("ACL", "DELUSER", source.names[0])
    await asyncio.wait_for(gone.wait(), 5)
    waiting = asyncio.ensure_future(link.call("ACL", "WHOAMI"))
    source.fails, source.life = False, 60.0

    assert await asyncio.wait_for(waiting, 10) == source.names[-1].encode()
    await link.close()
    login.close()


async def test_a_new_connection_uses_the_newest_login(root: tuple[str, redis.Redis]) -> None:
    url, plain = root
    source = Rotating(plain, life=60)
    login = Login(source=source)
    await login.ready()
    await login.renew()
    link = link_to(url, login=login)

    await link.open()

    assert await link.call("ACL", "WHOAMI") == source.names[1].encode()
    await link.close()
    login.close()
