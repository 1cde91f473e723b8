"""`app.redis`: plain clients on the app's own server, with its login."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.servers import listening_server

from castwork import App, Credentials
from castwork.model.errors import DefinitionError


async def test_a_client_for_the_loop_and_one_for_threads(app: App, namespace: str) -> None:
    key = f"{namespace}:flag"
    async with app:
        assert await app.redis.set(key, 1)
        assert app.redis is app.redis
        assert await asyncio.to_thread(lambda: app.redis_sync.get(key)) == b"1"
        await asyncio.to_thread(lambda: app.redis_sync.delete(key))
        assert await app.redis.get(key) is None
        before = app.redis
    async with app:
        assert app.redis is not before
        assert await app.redis.ping()


def test_each_event_loop_has_a_client_of_its_own(server_url: str) -> None:
    app, seen = App(server_url), []

    async def use() -> None:
        seen.append(app.redis)
        assert await app.redis.ping()
        await app.close()

    asyncio.run(use())
    asyncio.run(use())
    assert seen[0] is not seen[1]
    with pytest.raises(RuntimeError, match="no running event loop"):
        _ = app.redis


@pytest.fixture
def listening() -> Iterator[str]:
    with listening_server() as url:
        yield url


@pytest.mark.parametrize("is_async", [True, False])
async def test_it_logs_in_as_the_app_does(listening: str, is_async: bool) -> None:
    with redis.Redis.from_url(listening) as admin:
        rights = {"keys": ["*"], "channels": ["*"], "commands": ["+@all"]}
        admin.acl_setuser("ann", enabled=True, passwords=["+secret"], **rights)

    async def source() -> Credentials:
        return Credentials("ann", "secret")

    app = App(listening, credentials=source if is_async else lambda: Credentials("ann", "secret"))
    async with app:
        assert await app.redis.acl_whoami() in (b"ann", "ann")
        assert await asyncio.to_thread(app.redis_sync.acl_whoami) in (b"ann", "ann")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "redis.py").write_text("raise ModuleNotFoundError('no redis', name='redis')")
    program = "from castwork import App\nApp('redis://127.0.0.1:1').redis_sync"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"},
    )
    assert "pip install 'castwork[redis]'" in done.stderr


def test_a_namespace_is_said_once() -> None:
    assert App(namespace="shop").settings.namespace == "shop"
    with pytest.raises(DefinitionError, match="say it in the settings"):
        App(namespace="shop", settings=App().settings)
