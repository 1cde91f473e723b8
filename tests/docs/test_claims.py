"""What the pages tell operators and writers of other clients to do, done on a real server."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from tests.docs.pages import DOCS, blocks, sections

from castwork import App, Backoff, current
from castwork.embedded import EmbeddedServer
from castwork.model.errors import TaskCancelled, TaskDead, TaskNotFound
from castwork.redis.scripts import ENQUEUE


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A server of this test's own, as the pages name keys and users."""
    with EmbeddedServer(port=0) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def declare(app: App) -> None:
    @app.task(queue="inference")
    async def infer(prompt: str, model: str = "small") -> str:
        return f"{model}: {prompt}"


class Heard:
    """Listens until the task's record is announced."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        self.heard.set()

    def on_resumed(self) -> None:
        raise AssertionError("the connection must not be lost here")


async def test_plain_xadd_runs_and_has_no_record_before(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    command = _words(blocks(DOCS / "guides" / "plain-producers.md", "sh")[0].text)
    assert command[0] == "redis-cli"
    client.execute_command(*command[1:])
    task = app.get_task(command[command.index("id") + 1])
    async with app:
        with pytest.raises(TaskNotFound):
            await task.status()
        with pytest.raises(TaskNotFound):
            await task.cancel()
        record = Heard()
        key = "{cw:inference}:task:" + task.id
        await app.connections.pushes.add(key, record)
        async with app.worker():
            await asyncio.wait_for(record.heard.wait(), 10)
            assert await task.result(timeout=10) == "small: hi"
        app.connections.pushes.remove(key, record)
    assert client.xlen("{cw:inference}:stream:normal") == 0


async def test_enqueue_script_adds_one_task_once(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    _, printing, calling = (b.text for b in blocks(DOCS / "guides" / "plain-producers.md", "sh"))
    source = _python_in(printing)
    words = _words(calling)
    comma = words.index(",")
    keys, args = words[3:comma], words[comma + 1 :]
    assert client.eval(source, len(keys), *keys, *args) == [b"ok", 1]
    assert client.eval(source, len(keys), *keys, *args) == [b"ok", 0]
    task = app.get_task(keys[2].removeprefix("{cw:inference}:task:"))
    async with app, app.worker():
        assert (await task.status()).status == "queued" or await task.result(timeout=10)
        assert await task.result(timeout=10) == "small: hi"


def _words(shell: str) -> list[str]:
    """Split a command as a shell does."""
    return shlex.split(shell.replace("\\\n", " "), comments=True)


def _python_in(line: str) -> str:
    """Run the `python -c '...'` of a shell line and return what it prints."""
    words = _words(line)
    assert words[:2] == ["python", "-c"]
    ran = subprocess.run([sys.executable, "-c", words[2]], capture_output=True, text=True)
    assert ran.stdout.strip() == ENQUEUE.source.strip()
    return ran.stdout


async def test_acl_of_the_security_page_is_enough(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    listed = " ".join(b.text for b in blocks(DOCS / "operations" / "security.md", "text")).split()
    assert "An ACL user" in sections(DOCS / "operations" / "security.md")
    rules = [f"+{name.lower()}" for name in listed]
    client.execute_command(
        "ACL", "SETUSER", "app", "on", ">secret", "~{cw:*", "&*", "-@all", *rules
    )
    app = App(re.sub("//", "//app:secret@", server.url, count=1))
    heard: list[dict[str, int]] = []
    news = app.channel("news", dict, history=10)
    news.subscribe(heard.append)
    news.subscribe(group="audit")(heard.append)
    level = app.setting("level", int, default=1)
    blocked = asyncio.Event()

    @app.task(attempts=2, backoff=Backoff(base=0.01))
    async def stream(fail: bool = False) -> AsyncIterator[int]:
        await current().progress(0.5)
        yield 1
        if fail:
            raise ValueError

    @app.task
    async def hang() -> None:
        await blocked.wait()

    async with app, app.worker(lease=0.5):
        assert (await (await news.publish({"n": 1})).applied()).complete
        for value in range(2, 5):  # the history of a setting is short, so that it is trimmed
            assert (await (await level.set(value)).applied()).complete
        assert await (await stream.options(key="k", delay=0.01).enqueue()).result(timeout=10) == [1]
        dead = await stream.enqueue(True)
        with pytest.raises(TaskDead):
            await dead.result(timeout=10)
        [letters] = [one for one in app.dead_letters() if one.queue == "default"]
        await letters.replay(dead.id)
        hanging = await hang.enqueue()
        assert await hanging.cancel()
        with pytest.raises(TaskCancelled):
            await hanging.result(timeout=10)
        await app.queues()
        assert len(await app.workers()) == 1
    denied = client.execute_command("ACL", "LOG")
    assert denied == []


def test_quickstart_runs_as_it_is(tmp_path: Path, server: EmbeddedServer) -> None:
    backend, using = blocks(DOCS / "quickstart.md", "python")
    (tmp_path / "backend.py").write_text(backend.text)
    start = "import sys; from castwork.cli.main import main; sys.argv[0] = 'castwork'; main()"
    environment = {
        "CASTWORK_URL": server.url,
        "CASTWORK_LOG_LEVEL": "ERROR",
        "PYTHONPATH": os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path),
    }
    command = [sys.executable, "-c", start, "worker", "backend"]
    worker = subprocess.Popen(command, cwd=tmp_path, env=environment)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", using.text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
    finally:
        worker.terminate()
        worker.wait(timeout=20)
    assert ran.stderr == ""
    assert ran.stdout.split("\n") == ["TWO ", "VERBS ", "TWO VERBS ", ""]
