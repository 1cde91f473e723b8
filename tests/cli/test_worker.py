"""`castwork worker`: when it ends by itself, what it tells probes, options of the environment."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.processes import Running, castwork, environment
from tests.eventually import wait_until

from castwork import App
from castwork.embedded import EmbeddedServer

Start = Callable[..., Running]


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[App]:
    """The program's App in this process, to enqueue."""
    app = App(server.url, env=None)

    @app.remote(queue="slow")
    def nap(seconds: float) -> str:
        raise NotImplementedError

    yield app
    asyncio.run(app.close())


def nap(app: App, count: int, seconds: float = 0.0) -> list[str]:
    function = app.tasks.get("nap")
    return [function.enqueue_sync(seconds).id for _ in range(count)]


def started(start: Start, server: EmbeddedServer, *options: str, **variables: str) -> Running:
    env = environment() | {"CASTWORK_URL": server.url} | variables
    worker = start("worker", "sample_app", *options, env=env)
    worker.wait_for(r"serves \[")
    return worker


def states(app: App, ids: list[str]) -> list[str]:
    return [app.get_task(one).status_sync().status.value for one in ids]


def test_a_burst_ends_when_nothing_waits(start: Start, server: EmbeddedServer, app: App) -> None:
    ids = nap(app, 30, 0.01)
    worker = started(start, server, "--burst")
    assert worker.wait() == 0
    assert set(states(app, ids)) == {"succeeded"}
    assert "nothing waits any more" in worker.output


def test_it_ends_after_so_many_tasks(start: Start, server: EmbeddedServer, app: App) -> None:
    worker = started(start, server, "--max-tasks", "5", "--concurrency", "1")
    ids = nap(app, 40, 0.2)
    assert worker.wait() == 0
    assert re.search(r"\d+ tasks were the last", worker.output)
    assert 5 <= states(app, ids).count("succeeded") < 40
    assert set(states(app, ids)) == {"succeeded", "queued"}


def test_it_ends_above_so_much_memory(start: Start, server: EmbeddedServer) -> None:
    worker = started(start, server, "--max-memory", "1")
    assert worker.wait() == 0
    assert re.search(r"\d+ MB of memory are more than 1", worker.output)


def test_probes_hear_whether_it_is_well(
    start: Start, server: EmbeddedServer, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path / "well"
    worker = started(start, server, "--health-port", str(port), "--health-file", str(file))

    def probe() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                assert answer.read() == b"ok\n"
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    wait_until(lambda: probe() == 200, "the port answers")
    wait_until(file.exists, "the file is touched")
    before = file.stat().st_mtime
    wait_until(lambda: file.stat().st_mtime > before, "the file is touched again")
    with socket.create_connection(("127.0.0.1", port)) as garbage:
        garbage.sendall(b"\xff" * 20_000 + b"\r\n\r\n")
    assert probe() == 200
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    stopped = time.time()
    assert probe() == 0
    assert file.stat().st_mtime <= stopped + 1


def test_options_come_from_the_environment_and_the_command_line_wins(
    start: Start, server: EmbeddedServer
) -> None:
    async def capacity() -> int:
        async with App(server.url, env=None) as app:
            [worker] = await app.workers()
            return int(worker["capacity"])

    variable = {"CASTWORK_WORKER_CONCURRENCY": "3"}
    for options, expected in (((), 3), (("--concurrency", "2"), 2)):
        worker = started(start, server, *options, **variable)
        assert asyncio.run(capacity()) == expected
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0


def test_each_attempt_has_a_line_that_programs_can_read(
    start: Start, server: EmbeddedServer, app: App
) -> None:
    worker = started(start, server, "--log-level", "info", CASTWORK_LOG_FORMAT="json")
    [done] = nap(app, 1)
    worker.wait_for(r"attempt 1 succeeded")
    lines = [json.loads(line) for line in worker.output.splitlines()]
    assert "queue slow: block, hog, nap, nightly" in [line["message"] for line in lines]
    [told] = [line for line in lines if "task" in line]
    assert (told["task"], told["attempt"]) == (done, 1)
    assert (told["function"], told["queue"], told["level"]) == ("nap", "slow", "INFO")
    assert told["message"].startswith(f"task {done} (nap): attempt 1 succeeded, 0.")
    assert told["seconds"] >= 0


def test_a_level_that_is_none_is_refused() -> None:
    ran = castwork("worker", "sample_app", "--log-level", "loud")
    assert ran.returncode == 2
    assert "--log-level" in ran.stderr
