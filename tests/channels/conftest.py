"""Channels on a real server; each process is played by connections of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from castwork.channels.channel import Channel
from castwork.channels.event import EventCodec
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections

Declare = Callable[..., Channel[Any]]


@pytest.fixture
async def processes(server_url: str) -> AsyncIterator[Callable[[], Connections]]:
    """Makes the connections of one more process."""
    made: list[Connections] = []

    def make() -> Connections:
        made.append(Connections(lambda: server_url, LinkSettings()))
        return made[-1]

    yield make
    for connections in made:
        await connections.close()


@pytest.fixture
def connections(processes: Callable[[], Connections]) -> Connections:
    """This process's."""
    return processes()


@pytest.fixture
async def declare(connections: Connections, namespace: str) -> AsyncIterator[Declare]:
    """Declares a channel of numbers, in this process or in another one."""
    made: list[Channel[Any]] = []

    def make(
        name: str = "news",
        kind: Any = int,
        *,
        history: int = 100,
        process: Connections | None = None,
    ) -> Channel[Any]:
        codec: EventCodec[Any] = EventCodec(name, kind, 1000)
        made.append(Channel(name, codec, process or connections, namespace, history=history))
        return made[-1]

    yield make
    for channel in made:
        await channel.stop()
