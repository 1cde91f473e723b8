"""The connections of a process: what is open, and what is closed again after a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
import redis
from tests.eventually import eventually
from tests.servers import listening_server

from castwork import App, AppSettings
from castwork.embedded import EmbeddedServer
from castwork.model.credentials import Credentials
from castwork.model.errors import (
    AuthenticationFailed,
    NotOpen,
    ServerUnavailable,
    ServerUnsupported,
)
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.redis.pushes import Pushes
from castwork.redis.server import Needs


@pytest.fixture
def own() -> Iterator[tuple[str, redis.Redis]]:
    """A server that nobody else uses."""
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        yield server.url, client


def names(client: redis.Redis) -> list[str]:
    return sorted(c["name"] for c in client.client_list() if c["name"].startswith("castwork"))


def eviction(client: redis.Redis) -> None:
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")


async def test_whoever_takes_the_risk_may_use_a_server_that_evicts_queues(
    own: tuple[str, redis.Redis], caplog: pytest.LogCaptureFixture
) -> None:
    url, client = own
    eviction(client)
    app = App(url, settings=AppSettings(allow_eviction=True))

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app, app.worker():
        assert await (await double.enqueue(2)).result(timeout=10) == 4
        assert double.enqueue_sync(3)

    assert "drops whole queues" in caplog.text


async def test_the_refusal_of_a_server_that_evicts_names_the_way_around(
    own: tuple[str, redis.Redis],
) -> None:
    url, client = own
    eviction(client)

    with pytest.raises(ServerUnsupported, match=r"noeviction.*allow_eviction=True"):
        await Connections(lambda: url, LinkSettings()).open()


async def test_an_unfit_server_can_be_looked_at(own: tuple[str, redis.Redis]) -> None:
    url, client = own
    eviction(client)
    connections = Connections(lambda: url, LinkSettings())

    await connections.open(accept_unfit=True)

    assert connections.server is not None
    assert connections.server.evicts_all
    await connections.close()


async def test_a_process_has_one_link_for_commands_and_one_for_pushes(
    own: tuple[str, redis.Redis],
) -> None:
    url, client = own
    connections = Connections(lambda: url, LinkSettings())
    assert not connections.is_open

    await asyncio.gather(connections.open(), connections.open())

    assert connections.is_open
    assert names(client) == ["castwork-commands", "castwork-pushes"]
    assert connections.address == url
    assert connections.database == 0
    assert connections.joins_slots
    assert connections.links() == (connections.link_for(0),)
    server = connections.server
    assert server is not None
    assert server.product == "Valkey"
    await connections.close()
    assert not connections.is_open


async def test_workers_get_links_of_their_own(own: tuple[str, redis.Redis]) -> None:
    url, client = own
    connections = Connections(lambda: url, LinkSettings())
    await connections.open()
    reader = await connections.dedicated(7, "read-default", patience=1.0)
    lease = connections.thread_link(7, 1.0)
    assert await asyncio.to_thread(lease.call, "PING") == b"PONG"

    assert names(client)[1:] == ["castwork-lease", "castwork-pushes", "castwork-read-default"]
    first, second = connections.new_worker_id(), connections.new_worker_id()
    assert first == connections.member
    assert second == f"{first}.2"

    lease.close()
    await reader.close()
    await connections.close()


async def test_a_server_that_is_refused_leaves_no_connection_behind(
    own: tuple[str, redis.Redis],
) -> None:
    url, client = own
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    connections = Connections(lambda: url, LinkSettings())

    with pytest.raises(ServerUnsupported, match="allkeys-lru"):
        await connections.open()

    await gone(client)
    plain_only = Connections(lambda: url, LinkSettings(), needs=lambda: Needs(keeps_data=False))
    await plain_only.open()
    await plain_only.close()
    client.config_set("maxmemory-policy", "noeviction")
    await connections.open()  # and it can be tried again
    await connections.close()


async def test_pushes_that_do_not_open_leave_no_connection_behind(
    own: tuple[str, redis.Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_pushes: Pushes) -> None:
        raise AuthenticationFailed("no")

    url, client = own
    monkeypatch.setattr(Pushes, "open", fail)
    connections = Connections(lambda: url, LinkSettings())

    with pytest.raises(AuthenticationFailed):
        await connections.open()

    await gone(client)
    await connections.close()


async def test_closing_while_it_opens_leaves_no_connection_behind(
    own: tuple[str, redis.Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def hang(_pushes: Pushes) -> None:
        begun.set()
        await asyncio.Event().wait()

    url, client = own
    monkeypatch.setattr(Pushes, "open", hang)
    connections = Connections(lambda: url, LinkSettings())
    opening = asyncio.ensure_future(connections.open())
    await asyncio.wait_for(begun.wait(), 5)

    await connections.close()

    with pytest.raises(NotOpen, match="closed while they opened"):
        await opening  # a CancelledError would end a caller that nobody has cancelled
    await gone(client)


@pytest.fixture
def listening() -> Iterator[tuple[str, redis.Redis]]:
    """A server with a user `u` that listens on a port."""
    with listening_server() as url, redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all")
        yield url, client


def login_of(name: str) -> Callable[[], Awaitable[Credentials]]:
    async def source() -> Credentials:
        return Credentials(name, "p", time.time() + 60)

    return source


async def test_a_source_of_logins_serves_every_connection(
    listening: tuple[str, redis.Redis],
) -> None:
    url, client = listening
    connections = Connections(lambda: url, LinkSettings(), credentials=login_of("u"))
    await connections.open()

    assert await connections.link_for(0).call("ACL", "WHOAMI") == b"u"
    assert {c["user"] for c in client.client_list() if c["name"].startswith("castwork")} == {"u"}
    await connections.close()


async def test_a_login_in_the_url_goes_before_the_source(
    listening: tuple[str, redis.Redis],
) -> None:
    url = listening[0].replace("//", "//u:p@")
    connections = Connections(lambda: url, LinkSettings(), credentials=login_of("nobody"))
    await connections.open()

    assert await connections.link_for(0).call("ACL", "WHOAMI") == b"u"
    await connections.close()


async def test_a_unix_socket_needs_no_login(own: tuple[str, redis.Redis]) -> None:
    connections = Connections(lambda: own[0], LinkSettings(), credentials=login_of("nobody"))
    await connections.open()

    assert await connections.link_for(0).call("ACL", "WHOAMI") == b"default"
    await connections.close()


async def test_a_login_that_travels_in_plain_text_is_said(caplog: pytest.LogCaptureFixture) -> None:
    away = "redis://away.invalid:6379"
    connections = Connections(lambda: away, LinkSettings(), credentials=login_of("u"))

    with pytest.raises(ServerUnavailable):
        await connections.open()

    assert "in plain text" in caplog.text


async def test_a_database_is_said_and_used(own: tuple[str, redis.Redis]) -> None:
    url, client = own
    connections = Connections(lambda: f"{url}?db=2", LinkSettings())
    await connections.open()

    await connections.link_for(0).call("SET", "k", "v")

    assert connections.database == 2
    assert "db2" in client.info("keyspace")
    await connections.close()


async def test_what_an_acl_hides_is_not_known(own: tuple[str, redis.Redis]) -> None:
    url, client = own
    client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-info")
    connections = Connections(lambda: f"{url}?username=u&password=p", LinkSettings())

    await connections.open()

    assert connections.server is None
    await connections.close()


async def test_a_hidden_command_counts_as_missing(own: tuple[str, redis.Redis]) -> None:
    url, client = own
    client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-command")
    connections = Connections(lambda: f"{url}?username=u&password=p", LinkSettings())

    await connections.open()

    assert connections.server is not None
    assert not connections.server.has_msetex
    await connections.close()


async def gone(client: redis.Redis) -> None:
    """Wait until the server has seen the end of all connections but the client's own."""
    await eventually(lambda: not names(client))
