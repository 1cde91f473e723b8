"""Links to the shared server, and servers of special kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from tests.redis.links import link_to
from tests.servers import shared_server

from castwork.redis.link import Link


@pytest.fixture
async def link(server_url: str) -> AsyncIterator[Link]:
    """A link to the shared server."""
    made = link_to(server_url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture(params=["valkey", "redis"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Both servers in turn, for what differs between them."""
    return str(request.getfixturevalue("server_url" if request.param == "valkey" else "redis_url"))


@pytest.fixture
def any_plain(any_url: str) -> Iterator[redis.Redis]:
    """A plain client of that server."""
    with redis.Redis.from_url(any_url) as client:
        yield client


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A cluster of one node that has all slots."""
    with shared_server(kind="cluster") as url:
        yield url
