"""The servers that tests share: one Valkey or Redis per test process, alone or as a cluster.

`CASTWORK_TEST_SERVER=cluster` makes each of them a cluster of one node, which holds every slot and
refuses what a cluster refuses: keys of two slots in one command, and databases other than 0.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from tests.eventually import wait_until

from castwork.embedded import find_binary

#: What the shared servers are: "single" or "cluster".
KIND = os.environ.get("CASTWORK_TEST_SERVER", "single")

_KINDS = ("single", "cluster")

#: A new node takes no writes for two seconds, lest it be a primary that comes back too soon.
_START_TIMEOUT = 15.0

_ATTEMPTS = 5  # another process may take a port between its choice and its use

# The server is ended by the end of this shell's input: by `close`, or because the tests are gone.
_LEASH = 'trap "" INT; "$@" & read -r _; kill "$!"; wait "$!"'


@contextmanager
def shared_server(program: Path | str | None = None, kind: str = KIND) -> Iterator[str]:
    """Run a server without persistence, and yield its URL.

    Args:
        program: Server program; None: the Valkey that comes with the embedded server.
        kind: "single": on a Unix socket; "cluster": a node on a port of 127.0.0.1.
    """
    if kind not in _KINDS:
        raise ValueError(f"CASTWORK_TEST_SERVER is {kind!r}, not one of {', '.join(_KINDS)}")
    with _running(program, _single if kind == "single" else lambda _folder: _node()) as url:
        if kind == "cluster":
            _take_all_slots(url)
        yield url


@contextmanager
def listening_server(
    program: Path | str | None = None, certificates: Path | None = None
) -> Iterator[str]:
    """Run a server on a port of 127.0.0.1, without persistence, and yield its URL.

    Args:
        program: Server program; None: the Valkey that comes with the embedded server.
        certificates: folder of `ca.crt`, `server.crt` and `server.key`: the port speaks TLS only.
    """
    with _running(program, lambda _folder: _listening(certificates)) as url:
        yield url


@contextmanager
def _running(
    program: Path | str | None, choose: Callable[[str], tuple[str, dict[str, str]]]
) -> Iterator[str]:
    """Run a server at the URL and with the options that are chosen for its folder."""
    # Not in the temporary folder of the test that is first to ask for a server of many tests.
    with tempfile.TemporaryDirectory(prefix="castwork-test-", dir="/tmp") as folder:
        for _ in range(_ATTEMPTS):
            url, options = choose(folder)
            server = _start(str(program or find_binary()), Path(folder), options)
            try:
                if _answers(url, folder):
                    yield url
                    return
            finally:
                _end(server)
        raise RuntimeError(f"no server started:\n{Path(folder, 'log').read_text()[-2000:]}")


def program_on_path(name: str) -> str | None:
    """The path of a server program, None when it is not installed."""
    return shutil.which(name)


def _single(folder: str) -> tuple[str, dict[str, str]]:
    path = str(Path(folder, "socket"))
    return f"unix://{path}", {"port": "0", "unixsocket": path}


def _node() -> tuple[str, dict[str, str]]:
    port, bus = _free_ports(2)
    options = {"port": str(port), "cluster-port": str(bus), "bind": "127.0.0.1"}
    return f"redis://127.0.0.1:{port}", options | {"cluster-enabled": "yes"}


def _listening(certificates: Path | None) -> tuple[str, dict[str, str]]:
    (port,) = _free_ports(1)
    if certificates is None:
        return f"redis://127.0.0.1:{port}", {"port": str(port), "bind": "127.0.0.1"}
    ca = certificates / "ca.crt"
    options = {
        "port": "0",
        "bind": "127.0.0.1",
        "tls-port": str(port),
        "tls-ca-cert-file": str(ca),
        "tls-cert-file": str(certificates / "server.crt"),
        "tls-key-file": str(certificates / "server.key"),
        "tls-auth-clients": "no",
    }
    return f"rediss://localhost:{port}?ssl_ca_certs={ca}", options


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _start(program: str, folder: Path, options: dict[str, str]) -> subprocess.Popen[bytes]:
    every = {"save": "", "appendonly": "no", "dir": str(folder), "logfile": str(folder / "log")}
    arguments = [part for name, value in (every | options).items() for part in (f"--{name}", value)]
    return subprocess.Popen(
        ["/bin/sh", "-c", _LEASH, "sh", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait(20)


def _answers(url: str, folder: str) -> bool:
    """Wait for the first answer; False when there is none, or when another server gives it."""
    with redis.Redis.from_url(url, decode_responses=True) as client, suppress(AssertionError):

        def where() -> str:
            with suppress(redis.ConnectionError):
                return str(client.config_get("dir")["dir"])
            return ""

        return Path(wait_until(where, within=5)).samefile(folder)
    return False


def _take_all_slots(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(
            lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"),
            "the node takes writes",
            within=_START_TIMEOUT,
        )
