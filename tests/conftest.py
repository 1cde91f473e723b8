"""A real server for every test that needs one: shared per test process, a namespace per test."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import redis
from tests.proxy import Proxy
from tests.servers import KIND, program_on_path, shared_server

from castwork import App, AppSettings


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a cluster only what talks to the shared server is run: the rest would be the same."""
    if KIND != "cluster":
        return
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        shares = {"server_url", "quiet_url"} & set(getattr(item, "fixturenames", ()))
        fits = shares and item.get_closest_marker("one_server") is None
        (kept if fits else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """A temporary folder with a short name: all that have one share the `embedded://` server."""
    with (
        tempfile.TemporaryDirectory(prefix="cw-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _folder_of_this_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    tmp_path_factory.getbasetemp()  # made on first use, and not to be made in here
    with _temporary_folder():
        yield


@pytest.fixture(autouse=True)
def _folder_of_this_test(_folder_of_this_process: None) -> Iterator[None]:
    with _temporary_folder():
        yield


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a server that lasts as long as the test process."""
    with shared_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server from PATH, where the other tests use the bundled Valkey."""
    program = program_on_path("redis-server")
    if program is None:
        pytest.skip("no redis-server on PATH")
    with shared_server(program) as url:
        yield url


@pytest.fixture(scope="session")
def quiet_url() -> Iterator[str]:
    """The URL of a second server, for tests that count what is sent; emptied by `own_url`."""
    with shared_server() as url:
        yield url


@pytest.fixture
def own_url(quiet_url: str) -> str:
    """The URL of a server that is empty, and that nobody else uses during the test."""
    with redis.Redis.from_url(quiet_url) as client:
        client.flushall()
        client.script_flush()
        client.config_resetstat()
    return quiet_url


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


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[Proxy]:
    """A proxy to the shared server."""
    async with Proxy(server_url).running() as made:
        yield made
