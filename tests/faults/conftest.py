"""Servers, processes and proxies for the fault tests."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.proxy import Proxy
from tests.faults.sample_app import Notes, build

from castwork import App, TaskFunction
from castwork.redis.keys import QueueKeys


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server from PATH, where the other tests use the bundled Valkey."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH")
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "socket"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            url = f"unix://{socket}"
            _wait_for_server(url)
            yield url
        finally:
            server.terminate()
            server.wait()


def _wait_for_server(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            with redis.Redis.from_url(url) as client:
                client.ping()
                return
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)


@pytest.fixture(params=["valkey", "redis"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Both servers in turn, for what differs between them."""
    return str(request.getfixturevalue("server_url" if request.param == "valkey" else "redis_url"))


@pytest.fixture
def crew(server_url: str, namespace: str, tmp_path: Path) -> Iterator[Crew]:
    """Starts worker processes on the shared server and ends them."""
    made = Crew(server_url, namespace, tmp_path)
    yield made
    made.end()


@pytest.fixture
async def sample(server_url: str, namespace: str) -> AsyncIterator[App]:
    """The sample app in this process: to enqueue and to publish; its handlers do not run."""
    made = build(server_url, namespace)
    yield made
    await made.close()


@pytest.fixture
def tasks(sample: App) -> Callable[[str], TaskFunction[..., Any]]:
    """The sample app's task functions, by name."""
    return sample.tasks.get


@pytest.fixture
def notes(server_url: str, namespace: str) -> Iterator[Notes]:
    """What the sample app's functions did."""
    made = Notes(server_url, namespace)
    yield made
    made.client.close()


@pytest.fixture
def ledger(plain: redis.Redis, namespace: str) -> Ledger:
    """The queue of the sample app's own tasks."""
    return Ledger(plain, QueueKeys.of_queue(namespace, "work"))


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[Proxy]:
    """A proxy to the shared server."""
    async with Proxy(server_url).running() as made:
        yield made
