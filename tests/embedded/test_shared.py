"""The embedded server that processes share: who starts it, who joins it, and when it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.eventually import wait_until

from castwork.embedded import EmbeddedServer, SharedServer
from castwork.embedded.shared import project_folder
from castwork.model.errors import ServerUnavailable

JOIN = """
import sys
from pathlib import Path
from castwork.embedded import SharedServer
server = SharedServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.url, flush=True)
sys.stdin.readline()
"""


class Member:
    """Another process that joins the server of a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOIN, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def told(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        pid, url = self.process.stdout.readline().split()
        return int(pid), url

    def leave(self) -> None:
        self.process.communicate("\n")
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where servers have their folders; each test must leave no server there."""
    with tempfile.TemporaryDirectory(prefix="cwtest-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)
        wait_until(lambda: not _servers(Path(folder)), "a server was left behind")
    tempfile.tempdir = None


def _servers(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()]


def ping(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return bool(client.ping())


def is_gone(url: str) -> bool:
    return not Path(url.removeprefix("unix://")).exists()


def test_the_first_starts_it_and_the_last_ends_it(tmp_path: Path, root: Path) -> None:
    first, second = SharedServer(tmp_path), SharedServer(tmp_path)
    url = first.start()
    assert (second.start(), second.pid) == (url, first.pid)
    first.stop()
    assert second.is_running
    assert ping(url)
    second.stop()
    assert is_gone(url)
    assert list(root.iterdir()) == [], "not even the note is left"


def test_folders_have_servers_of_their_own(tmp_path: Path) -> None:
    with SharedServer(tmp_path) as one, SharedServer(tmp_path / "other") as other:
        assert one.pid != other.pid


def test_it_outlives_the_process_that_started_it_and_ends_with_the_last_that_is_killed(
    tmp_path: Path,
) -> None:
    starter = Member(tmp_path)
    pid, url = starter.told()
    other = Member(tmp_path)
    assert other.told() == (pid, url)
    starter.kill()
    with SharedServer(tmp_path) as third:
        assert third.pid == pid
    assert ping(url)
    other.kill()
    wait_until(lambda: is_gone(url), "it has ended")


def test_processes_that_come_at_once_find_one_server(tmp_path: Path) -> None:
    members = [Member(tmp_path) for _ in range(8)]
    assert len({member.told() for member in members}) == 1
    for member in members:
        member.leave()


def test_who_comes_while_the_last_leaves_has_a_server_that_stays(tmp_path: Path) -> None:
    for _ in range(20):
        old = SharedServer(tmp_path)
        old.start()
        new = Member(tmp_path)
        time.sleep(0.02)
        old.stop()
        pid, url = new.told()
        assert ping(url)
        with SharedServer(tmp_path) as third:
            assert third.pid == pid
        new.kill()


def test_joining_starts_nothing(tmp_path: Path, root: Path) -> None:
    server = SharedServer(tmp_path)
    assert server.join() == ""
    assert list(root.iterdir()) == []
    with SharedServer(tmp_path) as running:
        assert server.join() == running.url
        server.stop()


def test_a_forked_child_holds_nothing_and_ends_nothing(tmp_path: Path) -> None:
    server = SharedServer(tmp_path)
    url = server.start()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.close(write_end)
        server.stop()
        os.read(read_end, 1)
        os._exit(0)
    assert ping(url)
    server.stop()
    assert is_gone(url)
    os.close(write_end)
    os.waitpid(child, 0)
    os.close(read_end)


def test_a_server_that_died_is_replaced_for_all(tmp_path: Path) -> None:
    with SharedServer(tmp_path) as one, SharedServer(tmp_path) as other:
        died = one.pid
        os.kill(died, 9)
        wait_until(lambda: not one.is_running and not other.is_running, "it is missed")
        assert other.start() == one.start()
        assert one.pid == other.pid != died


def test_data_is_kept_from_one_life_to_the_next(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path / 'data'}"
    for life in (1, 2):
        with SharedServer.of_url(url) as server, SharedServer.of_url(url) as other:
            with redis.Redis.from_url(other.url) as client:
                assert client.incr("lives") == life
            assert server.pid == other.pid


def test_who_wants_the_data_kept_is_told_that_the_running_server_keeps_none(
    tmp_path: Path,
) -> None:
    with (
        SharedServer(tmp_path),
        pytest.raises(ServerUnavailable, match="runs already .* keeps no data"),
    ):
        SharedServer(tmp_path, data=tmp_path / "data").start()


def test_a_note_that_says_nothing_true_is_written_anew(tmp_path: Path, root: Path) -> None:
    for text in ("", "{}", "nonsense", '{"folder": "/none", "pid": 1, "data": ""}'):
        with SharedServer(tmp_path) as server:
            [note] = [path for path in root.iterdir() if path.is_file()]
            assert note.stat().st_mode & 0o077 == 0
        note.write_text(text)
        with SharedServer(tmp_path) as server:
            assert ping(server.url)


def test_a_note_that_is_a_link_is_refused(tmp_path: Path, root: Path) -> None:
    with SharedServer(tmp_path):
        [note] = [path for path in root.iterdir() if path.is_file()]
    note.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServerUnavailable, match="cannot look for"):
        SharedServer(tmp_path).start()
    assert not (tmp_path / "elsewhere").exists()


def test_a_project_is_the_nearest_folder_that_looks_like_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "package" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setenv("HOME", str(tmp_path / "project" / "package"))
    assert project_folder() == inner
    monkeypatch.setenv("HOME", "/nowhere")
    (tmp_path / "project" / "pyproject.toml").touch()
    assert project_folder() == tmp_path / "project"


def test_a_private_server_is_shared_with_nobody(tmp_path: Path) -> None:
    with SharedServer(tmp_path) as shared, EmbeddedServer() as private:
        assert private.pid != shared.pid


def test_a_server_that_is_busy_is_waited_for_and_gets_no_second_one_beside_it(
    tmp_path: Path,
) -> None:
    with SharedServer(tmp_path) as first:
        os.kill(first.pid, signal.SIGSTOP)
        joining = SharedServer(tmp_path, start_timeout=0.2)
        try:
            with pytest.raises(ServerUnavailable, match=r"lives, and has not answered"):
                joining.start()
            with pytest.raises(ServerUnavailable, match=r"lives, and has not answered"):
                joining.join()
            patient = Member(tmp_path)
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert patient.told()[0] == first.pid
        patient.leave()
        assert joining.start() == first.url
        joining.stop()


def test_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ServerUnavailable, match="current folder is gone"):
        project_folder()


def test_a_project_is_found_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without a passwd entry
    monkeypatch.chdir(tmp_path)
    assert project_folder() == tmp_path


SCRIPT = """
from castwork import App
app = App("embedded://", env=None)

@app.task
async def nothing() -> None: ...

nothing.enqueue_sync()
"""


def test_a_script_that_ends_with_its_server_logs_no_lost_connections(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
