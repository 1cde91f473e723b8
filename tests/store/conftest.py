"""A queue on a real server, and what acts on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.store.box import Box

from castwork.model.queue import Queue, adopted_queue
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections


@pytest.fixture
async def connections(server_url: str) -> AsyncIterator[Connections]:
    made = Connections(lambda: server_url, LinkSettings())
    yield made
    await made.close()


@pytest.fixture
async def box(connections: Connections, namespace: str) -> Box:
    """A queue of castwork's own."""
    made = Box(connections, namespace, Queue("q"))
    await made.alice.claims.create_groups()
    return made


@pytest.fixture
async def adopted(connections: Connections, namespace: str) -> Box:
    """A queue around a stream of others, whose entries it deletes."""
    return await _adopt(connections, namespace, owned=True)


@pytest.fixture
async def kept(connections: Connections, namespace: str) -> Box:
    """A queue around a stream of others, whose entries stay."""
    return await _adopt(connections, namespace, owned=False)


async def _adopt(connections: Connections, namespace: str, *, owned: bool) -> Box:
    # The workers of a box have short names, as other programs' consumers do.
    queue = adopted_queue(f"{namespace}:events", "billing", owned=owned, foreign_lease=0.0)
    made = Box(connections, namespace, queue)
    await made.alice.claims.create_groups()
    return made
