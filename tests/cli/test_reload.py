"""`--reload`: a change of a file starts the program anew, and loses no task."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.processes import Running, castwork, environment

from castwork import App, TaskFunction
from castwork.cli.failure import Failure
from castwork.cli.supervise.sources import folders_of, require_watching
from castwork.embedded import EmbeddedServer

PROGRAM = """
import asyncio
from castwork import App

app = App("embedded://")

@app.task(timeout=None)
async def version(seconds: float = 0.0) -> int:
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    return {version}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the program, in which the commands run."""
    monkeypatch.setattr("tests.cli.processes.HERE", tmp_path)
    # Python takes compiled code for current if the file's size and second are the same.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "program.py").write_text(PROGRAM.format(version=1))
    return tmp_path


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


def of_program(app: App) -> TaskFunction[..., int]:
    @app.remote
    def version(seconds: float = 0.0) -> int:
        raise NotImplementedError

    return version


def test_a_change_starts_the_worker_again_and_the_running_task_ends(
    start: Callable[..., Running], server: EmbeddedServer, folder: Path
) -> None:
    env = environment() | {"CASTWORK_URL": server.url}
    worker = start("worker", "program", "--reload", env=env)
    worker.wait_for(r"serves \['default'\]")
    app = App(server.url, env=None)
    version = of_program(app)
    running = version.enqueue_sync(1.0)
    worker.wait_for("begun")
    (folder / "program.py").write_text(PROGRAM.format(version=2))
    worker.wait_for(r"program\.py has changed: starting again")
    worker.wait_for(r"(?s)serves .* has stopped.*serves ")
    assert running.result_sync(timeout=10) == 1
    assert running.status_sync().attempts == 1
    assert version.enqueue_sync().result_sync(timeout=10) == 2

    (folder / "program.py").write_text("def broken(:\n")
    worker.wait_for("it is started again when a file changes")
    waiting = version.enqueue_sync()
    (folder / "program.py").write_text(PROGRAM.format(version=3))
    assert waiting.result_sync(timeout=20) == 3
    asyncio.run(app.close())
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert not worker.alive()


def test_up_starts_gateway_and_workers_again(start: Callable[..., Running], folder: Path) -> None:
    up = start("up", "program", "--port", "0", "--workers", "1", "--reload")
    up.wait_for("Ctrl-C lets running tasks finish")
    before = {role: up.children(role) for role in ("gateway", "worker")}
    (folder / "program.py").write_text(PROGRAM.format(version=2))
    up.wait_for(r"(?s)has changed.*gateway +\| .*the gateway serves")
    up.wait_for(r"(?s)has changed.*worker-1 +\| .* serves \[")
    for role, pids in before.items():
        assert len(up.children(role)) == 1
        assert up.children(role) != pids
    up.signal(signal.SIGTERM)
    assert up.wait() == 0


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(Failure, match=r"pip install 'castwork\[reload\]'"):
        require_watching()


def test_a_program_that_cannot_be_loaded_at_first_ends_the_command(folder: Path) -> None:
    ran = castwork("worker", "nosuch", "--reload", cwd=folder)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no module named 'nosuch'" in ran.stderr


def test_a_package_elsewhere_is_watched_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import msgspec

    monkeypatch.chdir(tmp_path)
    assert folders_of(msgspec) == [tmp_path.resolve(), Path(msgspec.__path__[0]).resolve()]
