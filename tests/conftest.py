"""A real Valkey for every test that needs one: shared, with a namespace per test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from castwork import App, AppSettings
from castwork.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a server that lasts for the test session."""
    with EmbeddedServer() as server:
        yield server.url


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def plain(server_url: str) -> Iterator[redis.Redis]:
    """A plain redis-py client, to look at what is really there."""
    with redis.Redis.from_url(server_url) as client:
        yield client


@pytest.fixture
async def app(server_url: str, namespace: str) -> AsyncIterator[App]:
    """An app on the shared server; what a test declares on it stays its own."""
    made = App(server_url, settings=AppSettings(namespace=namespace))
    yield made
    await made.close()
