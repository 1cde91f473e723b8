"""What cannot start says so in one line, with an exit code and no traceback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from tests.cli.processes import HERE, Running, castwork, environment
from tests.eventually import wait_until

from castwork.embedded import EmbeddedServer

NOWHERE = "redis://127.0.0.1:1"
COMMANDS = [
    ("worker", "sample_app"),
    ("gateway", "sample_app", "--port", "0"),
    ("up", "sample_app", "--port", "0"),
    ("status", "--app", "sample_app"),
    ("enqueue", "add", "a=1", "--app", "sample_app"),
]


def refused(*arguments: str, code: int, cwd: Path | None = None) -> str:
    """Run a command that must fail, and return the one line that it says."""
    found = castwork(*arguments, cwd=cwd) if cwd else castwork(*arguments)
    lines = found.stderr.splitlines()
    assert (found.returncode, len(lines), found.stdout) == (code, 1, ""), found
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_server_is_one_line_naming_the_address(command: tuple[str, ...]) -> None:
    line = refused(*command, "--redis", NOWHERE, code=1)
    assert line.startswith("castwork: no Redis or Valkey at 127.0.0.1:1")
    assert "castwork server" in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_refused_login_is_one_line_naming_the_address(
    command: tuple[str, ...], own_server: EmbeddedServer
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("requirepass", "secret")
    address = own_server.url.removeprefix("redis://")
    url = f"redis://:wrong@{address}"
    line = refused(*command, "--redis", url, code=1)
    assert line.startswith(f"castwork: {address} refused the login: WRONGPASS")
    assert "wrong@" not in line
    line = refused(*command, "--redis", own_server.url, code=1)
    assert line.startswith(f"castwork: {address} wants a login (NOAUTH): put it into the URL")


@pytest.fixture
def old_server() -> Iterator[str]:
    """A server of the time before HELLO."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_as_of_old, args=(listener,), daemon=True).start()
        yield "127.0.0.1:%d" % listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _answer_as_of_old(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while sent := connection.recv(65_536):
                connection.sendall(b"-ERR unknown command `HELLO`\r\n" * sent.count(b"HELLO"))
                connection.sendall(b"+OK\r\n" * sent.count(b"SETNAME"))


def test_a_server_too_old_is_one_line_naming_the_address(old_server: str) -> None:
    line = refused("worker", "sample_app", "--redis", f"redis://{old_server}", code=1)
    assert old_server in line
    assert "6.2" in line


@pytest.mark.parametrize("command", [(), ("tasks",), ("dead",)])
def test_help_cuts_no_sentence_on_a_narrow_terminal(command: tuple[str, ...]) -> None:
    told = castwork(*command, "--help", env=environment(COLUMNS="80")).stdout
    commands = told.partition("Commands:")[2]
    assert commands
    assert "..." not in commands


def test_a_url_that_is_none_is_one_line() -> None:
    line = refused("worker", "sample_app", "--redis", "http://h", code=2)
    assert "'http://h'" in line


def test_a_look_at_an_embedded_server_that_does_not_run_is_one_line() -> None:
    line = refused("status", "--app", "sample_app", code=1)
    assert "no process runs the embedded server" in line
    assert "castwork up" in line


def test_processes_of_a_project_share_the_embedded_server(start: Callable[..., Running]) -> None:
    worker = start("worker", "sample_app", "--queues", "default")
    worker.wait_for("serves")
    done = castwork("enqueue", "add", '{"a": 1, "b": 2}', "--app", "sample_app", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3" in done.stdout
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert "no process runs" in refused("status", "--app", "sample_app", code=1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nosuch", "no module named 'nosuch'"),
        ("castwork.nosuch", "no module named 'castwork.nosuch'"),
        ("sample_app.py:app", "; say sample_app"),
        ("sample_app:nosuch", "has no 'nosuch'"),
        ("sample_app:other", "is no castwork App but a str"),
        ("sample app", "not a module: 'sample app'"),
    ],
)
def test_an_app_that_is_not_there_is_one_line(name: str, said: str) -> None:
    assert said in refused("worker", name, "--redis", NOWHERE, code=2)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_that_name", "needs 'nothing_of_that_name'"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
    ],
)
def test_a_module_that_does_not_import_says_why(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    line = refused("worker", "mine", code=2, cwd=tmp_path)
    assert said in line
    assert "'mine'" in line


@pytest.mark.parametrize(
    ("missing", "extra", "command"),
    [
        ("typer", "castwork[cli]", ("worker", "sample_app")),
        ("uvicorn", "castwork[gateway]", ("gateway", "sample_app", "--redis", NOWHERE)),
        ("fastapi", "castwork[gateway]", ("gateway", "sample_app", "--redis", NOWHERE)),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    missing: str, extra: str, command: tuple[str, ...]
) -> None:
    program = (
        "import sys; sys.path.insert(0, '.'); "
        f"sys.modules[{missing!r}] = None; sys.argv = ['castwork', *{command!r}]; "
        "from castwork.cli.main import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=HERE, capture_output=True, text=True
    )
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1), found
    assert f"needs {missing!r}" in found.stderr
    assert f"pip install '{extra}'" in found.stderr


def test_a_command_without_an_app_asks_for_one() -> None:
    assert "--app" in refused("status", code=2)


def test_a_gateway_on_a_taken_port_is_one_line(taken_port: int, own_server: EmbeddedServer) -> None:
    line = refused(
        "gateway", "sample_app", "--redis", own_server.url, "--port", str(taken_port), code=1
    )
    assert f"port {taken_port} on 127.0.0.1 is in use" in line


def test_a_server_on_a_taken_port_is_one_line(taken_port: int) -> None:
    assert f"port {taken_port}" in refused("server", "--port", str(taken_port), code=1)


def test_server_serves_and_ends(start: Callable[..., Running], tmp_path: Path) -> None:
    server = start("server", "--port", "0", "--data", str(tmp_path))
    url = server.wait_for(r"server (redis://:\S+@127\.0\.0\.1:\d+)").group(1)
    with redis.Redis.from_url(url) as client:
        assert client.set("kept", "1")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    wait_until(lambda: not server.alive(), "nothing is left", within=5)
    again = start("server", "--port", "0", "--data", str(tmp_path), "--no-password")
    url = again.wait_for(r"server (redis://127\.0\.0\.1:\d+)").group(1)
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"1"


def test_a_worker_alone_stops_on_sigterm(
    start: Callable[..., Running], own_server: EmbeddedServer
) -> None:
    worker = start("worker", "sample_app", "--redis", own_server.url, "--queues", "default, slow")
    worker.wait_for(r"serves \['default', 'slow'\]")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert "castwork.cli.supervise.worker_process: stopping" in worker.output
    assert "has stopped" in worker.output


def test_a_second_sigterm_ends_a_worker_at_once(
    start: Callable[..., Running], own_server: EmbeddedServer
) -> None:
    url = own_server.url
    worker = start("worker", "sample_app", "--redis", url, "--grace", "300")
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=url)
    castwork("enqueue", "nap", "seconds=300", env=env)
    wait_until(lambda: '"load": 1' in castwork("status", "--json", env=env).stdout, "it runs")
    worker.signal(signal.SIGTERM)
    worker.wait_for("1 task gets 300 s to finish")
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 1


def test_the_gateway_alone_stops_on_sigterm(
    start: Callable[..., Running], own_server: EmbeddedServer
) -> None:
    gateway = start("gateway", "sample_app", "--redis", own_server.url, "--port", "0")
    url = gateway.wait_for(r"the gateway serves (http://\S+)").group(1)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0


@pytest.mark.parametrize("help_option", ["-h", "--help"])
def test_help_has_two_names(help_option: str) -> None:
    for command in ((), ("worker",), ("dead", "purge")):
        found = castwork(*command, help_option)
        assert (found.returncode, "Usage" in found.stdout) == (0, True)


def test_the_version_is_told() -> None:
    found = castwork("--version")
    assert (found.returncode, found.stdout.split()[0]) == (0, "castwork")
