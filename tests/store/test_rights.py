"""What a login may not do is found out, and nothing is changed by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from tests.docs.pages import DOCS, blocks
from tests.servers import listening_server, program_on_path

from castwork.model.queue import Queue, adopted_queue
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.store.place import QueuePlace
from castwork.store.probes import ALWAYS, FOR_DATA, OPTIONAL
from castwork.store.rights import Rights, Uses, examine_rights


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A Valkey, and the oldest Redis at hand."""
    program = program_on_path("redis-server") if request.param == "redis" else None
    if request.param == "redis" and program is None:
        pytest.skip("no redis-server on PATH")
    with listening_server(program) as url:
        yield url


@pytest.fixture
def root(server: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server) as client:
        yield client


@pytest.fixture
async def shy(server: str, root: redis.Redis) -> AsyncIterator[Connections]:
    """Connections of the user `shy`, who may do all that the documentation lists."""
    root.execute_command("ACL", "SETUSER", "shy", "reset", "on", ">pw", "~*", "&*", *documented())
    url = server.replace("//", "//shy:pw@")
    connections = Connections(lambda: url, LinkSettings())
    await connections.open()
    yield connections
    await connections.close()


def documented() -> list[str]:
    listed = " ".join(b.text for b in blocks(DOCS / "operations" / "security.md", "text")).split()
    return [f"+{name.lower()}" for name in listed if name != "MSETEX"] + ["+acl|whoami"]


def uses(connections: Connections) -> Uses:
    queues = [Queue("default"), adopted_queue("orders", "billing", name="orders", owned=False)]
    return Uses(
        namespace="cw",
        queues=[QueuePlace(connections, "cw", queue) for queue in queues],
        kept=["news"],
        settings=["level"],
        plain=["orders:created"],
    )


def test_the_probes_are_the_commands_that_the_documentation_lists() -> None:
    page = " ".join(b.text for b in blocks(DOCS / "operations" / "security.md", "text")).split()
    # The first of these are proven by a connection that is open.
    proven = {"HELLO", "AUTH", "SELECT", "SUBSCRIBE", "UNSUBSCRIBE"}

    assert {*ALWAYS, *FOR_DATA} == set(page) - proven
    assert {*ALWAYS, *FOR_DATA} > OPTIONAL


async def test_what_the_documentation_lists_is_enough_and_nothing_is_changed(
    shy: Connections, root: redis.Redis
) -> None:
    before = [*root.keys(), root.info("keyspace")]

    rights = await examine_rights(shy, uses(shy))

    assert rights.user == "shy"
    assert set(rights.commands) <= {"MSETEX"}  # the one that is not granted here, where it exists
    assert (rights.keys, rights.channels) == ([], [])
    assert [*root.keys(), root.info("keyspace")] == before


async def test_each_command_that_is_refused_is_named(shy: Connections, root: redis.Redis) -> None:
    root.execute_command("ACL", "SETUSER", "shy", "-@all", "+acl|whoami")

    rights = await examine_rights(shy, uses(shy))

    # A server may not know MSETEX, and then does not refuse it.
    assert {*rights.commands, "MSETEX"} == {*ALWAYS, *FOR_DATA, "SUBSCRIBE"}


async def test_keys_and_channels_that_are_refused_are_named_as_patterns(
    shy: Connections, root: redis.Redis
) -> None:
    root.execute_command("ACL", "SETUSER", "shy", "resetkeys", "resetchannels", "%R~*", "&{cw:*")

    rights = await examine_rights(shy, uses(shy))

    assert rights.keys == ["{cw:*", "{orders}:billing:*", "orders"]
    assert rights.channels == ["orders:created", "{orders}:billing:control"]
    rules = [*(f"~{key}" for key in rights.keys), *(f"&{name}" for name in rights.channels)]
    root.execute_command("ACL", "SETUSER", "shy", "resetkeys", *rules)  # what is said is enough
    again = await examine_rights(shy, uses(shy))
    assert (again.keys, again.channels) == ([], [])


async def test_an_app_that_keeps_nothing_needs_little(shy: Connections, root: redis.Redis) -> None:
    rules = ["-@all", "resetkeys", "+info", "+ping", "+client|setname", "+command|info"]
    root.execute_command("ACL", "SETUSER", "shy", *rules, "+subscribe", "+unsubscribe")

    assert await examine_rights(shy, Uses("cw", plain=["orders:created"])) == Rights()
