"""What the pages tell operators and writers of other clients to do, done on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.docs.pages import DOCS, blocks, sections

from castwork import App, Backoff, current
from castwork.embedded import EmbeddedServer
from castwork.model.errors import TaskCancelled, TaskDead, TaskNotFound
from castwork.store.scripts import ENQUEUE, ENQUEUE_NAMED


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


PRODUCERS = DOCS / "guides" / "plain-producers.md"


class Heard:
    """Listens until a task's record is told."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.messages: list[bytes] = []

    def on_message(self, payload: bytes) -> None:
        self.messages.append(payload)
        self.told.set()

    def on_resumed(self) -> None:
        raise AssertionError("the connection must not be lost here")


def _page_functions() -> dict[str, Any]:
    """What the Python of the page on plain producers defines."""
    defined: dict[str, Any] = {}
    for block in blocks(PRODUCERS, "python"):
        exec(block.text, defined)
    return defined


def _command(containing: str) -> list[str]:
    """The words of the one shell command of the page that contains a text, as a shell splits it."""
    [block] = [block for block in blocks(PRODUCERS, "sh") if containing in block.text]
    return shlex.split(block.text.replace("\\\n", " "), comments=True)


def _script_of(containing: str) -> str:
    """Run the `python -c '...'` of a shell line and return the script that it prints."""
    words = _command(containing)
    assert words[:2] == ["python", "-c"]
    ran = subprocess.run([sys.executable, "-c", words[2]], capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.stdout


async def test_plain_xadd_is_found_from_the_start_and_runs(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    command = _command("call 'infer")
    assert command[0] == "redis-cli"
    entry = client.execute_command(*command[1:]).decode()
    nonce = command[-1].split()[1]
    task = app.get_task(_page_functions()["task_id"]("inference", entry, nonce))
    async with app:
        status = await task.status()
        assert (status.status, status.task) == ("queued", "infer")
        heard, channel = Heard(), "{cw:inference}:told:" + nonce[:6]
        await app.connections.pushes.add(channel, heard)
        async with app.worker():
            assert await task.result(timeout=10) == "small: hi"
            await asyncio.wait_for(heard.told.wait(), 10)
        app.connections.pushes.remove(channel, heard)
    key, record = heard.messages[-1].decode().split("\n")
    assert key == "{cw:inference}:task:" + task.id
    assert json.loads(record)["status"] == "succeeded"
    assert client.xlen("{cw:inference}:stream:normal") == 0


async def test_plain_xadd_can_be_cancelled_while_it_waits(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    command = _command("call 'infer")
    entry = client.execute_command(*command[1:]).decode()
    nonce = command[-1].split()[1]
    make_id = _page_functions()["task_id"]
    async with app:
        with pytest.raises(TaskNotFound):  # who guesses the place does not know the nonce
            await app.get_task(make_id("inference", entry, "0" * 14)).status()
        assert await app.get_task(make_id("inference", entry, nonce)).cancel()
    assert client.xlen("{cw:inference}:stream:normal") == 0


async def test_long_form_of_an_entry_runs_and_has_no_record_before(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    command = _command("task infer args")
    client.execute_command(*command[1:])
    task = app.get_task(command[command.index("id") + 1])
    async with app:
        with pytest.raises(TaskNotFound):
            await task.status()
        with pytest.raises(TaskNotFound):
            await task.cancel()
        heard = Heard()
        await app.connections.pushes.add("{cw:inference}:told", heard)
        async with app.worker():
            await asyncio.wait_for(heard.told.wait(), 10)
            assert await task.result(timeout=10) == "small: hi"
        app.connections.pushes.remove("{cw:inference}:told", heard)


def _eval(client: redis.Redis, source: str, words: list[str]) -> str:
    """Do what `redis-cli --eval FILE KEYS , ARGS` does."""
    assert words[:2] == ["redis-cli", "--eval"]
    comma = words.index(",")
    keys, args = words[3:comma], words[comma + 1 :]
    return client.eval(source, len(keys), *keys, *args).decode()


async def test_enqueue_script_adds_one_task_once(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    source, command = _script_of("import ENQUEUE;"), _command("--eval enqueue.lua")
    assert source.strip() == ENQUEUE.source.strip()
    word = _eval(client, source, command)
    assert _eval(client, source, command) == word
    assert client.xlen("{cw:inference}:stream:normal") == 1
    entry, _, count = word.partition("/")
    assert count == "1"
    nonce = command[-1].split()[1]
    task = app.get_task(_page_functions()["task_id"]("inference", entry, nonce))
    async with app:
        assert (await task.status()).status == "queued"
        async with app.worker():
            assert await task.result(timeout=10) == "small: hi"


async def test_script_for_named_tasks_adds_one_task_once(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    app = App(server.url)
    declare(app)
    source, command = _script_of("import ENQUEUE_NAMED;"), _command("--eval enqueue_named.lua")
    assert source.strip() == ENQUEUE_NAMED.source.strip()
    assert _eval(client, source, command) == "+"
    assert _eval(client, source, command) == "+"
    number = command.index(",") + 2
    again = [*command[:number], str(int(command[number]) + 1), *command[number + 1 :]]
    assert _eval(client, source, again) == "=inference:order-8"
    task = app.get_task("inference:order-8")
    async with app:
        assert (await task.status()).status == "queued"
        async with app.worker():
            assert await task.result(timeout=10) == "small: hi"
        enqueued = await app.tasks.get("infer").options(id="order-8").enqueue("hi")
        assert (enqueued.id, enqueued.created) == (task.id, False)


async def test_producer_in_python_enqueues_what_is_found(
    server: EmbeddedServer, client: redis.Redis, tmp_path: Path
) -> None:
    app = App(server.url)
    declare(app)
    page, script = _page_functions(), tmp_path / "enqueue.lua"
    script.write_text(ENQUEUE.source)
    producer = page["Producer"](client, "inference", script)
    made = [producer.enqueue("infer", {"prompt": word}) for word in ("one", "two")]
    ids = [page["task_id"]("inference", entry, nonce) for entry, nonce in made]
    async with app, app.worker():
        results = [await app.get_task(one).result(timeout=10) for one in ids]
    assert results == ["small: one", "small: two"]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
async def test_producer_in_node_enqueues_what_is_found(
    server: EmbeddedServer, client: redis.Redis, tmp_path: Path
) -> None:
    """The library for Node is played: what the page gives it is run here."""
    [block] = blocks(PRODUCERS, "js")
    library = tmp_path / "node_modules" / "ioredis"
    library.mkdir(parents=True)
    (library / "package.json").write_text('{"name": "ioredis", "main": "index.js"}')
    (library / "index.js").write_text(_IOREDIS)
    (tmp_path / "enqueue.lua").write_text(ENQUEUE.source)
    (tmp_path / "producer.mjs").write_text(block.text)
    node = await asyncio.create_subprocess_exec(
        "node", "producer.mjs", cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert node.stdin is not None
    assert node.stdout is not None
    asked = json.loads(await node.stdout.readline())
    reply = client.eval(*asked)
    node.stdin.write(reply + b"\n")
    node.stdin.close()  # else Node would wait for more
    task_id = (await node.stdout.readline()).decode().strip()
    await node.wait()
    app = App(server.url)
    declare(app)
    async with app, app.worker():
        assert await app.get_task(task_id).result(timeout=10) == "small: hi"


#: Writes what it shall evaluate as a line of JSON, and reads the reply.
_IOREDIS = """
const { createInterface } = require("node:readline");
module.exports = class {
  eval(...asked) {
    console.log(JSON.stringify(asked));
    const lines = createInterface({ input: process.stdin });
    return new Promise(resolve => lines.once("line", line => { lines.close(); resolve(line); }));
  }
  disconnect() {}
};
"""


@pytest.mark.parametrize("form", ["lists", "line"])
async def test_acl_of_the_security_page_is_enough(
    server: EmbeddedServer, client: redis.Redis, form: str
) -> None:
    assert "An ACL user" in sections(DOCS / "operations" / "security.md")
    lists = [block.text for block in blocks(DOCS / "operations" / "security.md", "text")]
    [line] = [block.text for block in blocks(DOCS / "operations" / "security.md", "acl")]
    rules = [f"+{name.lower()}" for name in " ".join(lists).split()]
    user = ["app", "on", ">secret", "~{cw:*", "&*", "-@all", *rules]
    if form == "line":
        user = line.replace("PASSWORD", "secret").split()[2:]
        user[0] = "app"
    client.execute_command("ACL", "SETUSER", *user)
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
