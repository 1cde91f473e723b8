"""One trial: one peer, one fresh server, one run directory, and the processes that run in it."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import measure
from .catalog import Peer
from .envs import BENCHMARKS, PEERS, UnavailableError, environment
from .server import Server

CHILD = BENCHMARKS / "harness" / "child"
DRIVER = str(CHILD / "driver.py")


class TrialError(Exception):
    """The peer did not do what the scenario asks; the message goes into the report."""


class Producer:
    """A driver process that produces; see child/driver.py for the requests."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, do: str, **request: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise TrialError(f"producer ended: {tail(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise TrialError(f"producer: {answer['error']}")
        return answer

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer.

        Raises:
            TrialError: the producer answered with an error, or ended.
        """
        self.send(do, **request)
        return self._answer()

    receive = _answer

    def enqueue(
        self, count: int, kind: str = "noop", mode: str = "fill", **options: Any
    ) -> dict[str, Any]:
        return self.ask("enqueue", count=count, kind=kind, mode=mode, **options)


class Workers:
    """The worker processes of one call of `Trial.workers`."""

    def __init__(self, processes: list[subprocess.Popen[str]], log: Path) -> None:
        self._processes = processes
        self._log = log
        self.started = time.monotonic()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def check_alive(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise TrialError(f"worker ended with {process.returncode}: {tail(self._log)}")

    def cpu(self) -> float:
        return measure.cpu_seconds(self.pids)

    def memory(self) -> measure.Memory:
        return measure.memory(self.pids)


class Trial:
    """What a scenario's `run` gets: starts producers and workers of `peer`, and reads what they
    did.
    """

    def __init__(self, peer: Peer, server_kind: str, scale: float, loop: str) -> None:
        self.peer, self.scale = peer, scale
        self._options = (peer, server_kind, scale, loop)
        self.remarks: list[str] = []  # what a reader must know beside the figures
        self.python = environment(peer)
        self._folder = tempfile.TemporaryDirectory(prefix="bench-run-")
        self.folder = Path(self._folder.name)
        self.server = Server(server_kind)
        self.environ = _environ(peer, self.server.url, self.folder, loop)
        self._stack = contextlib.ExitStack()
        self._logs = 0
        self.expect(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        self.server.__exit__(kind, error, trace)
        self._folder.cleanup()

    def again(self) -> "Trial":
        """Returns another trial of the same peer, on a fresh server: for scenarios that measure at
        several levels.
        """
        other = Trial(*self._options)
        other.remarks = self.remarks
        return other

    def scaled(self, count: int, least: int = 1) -> int:
        return max(least, int(count * self.scale))

    def tasks(self, seconds: float) -> int:
        """Returns how many tasks keep the peer busy for about so many seconds, times the scale."""
        return self.scaled(self.peer.tasks(seconds), least=100)

    def expect(self, tasks: int) -> None:
        """Makes room for counting the runs of each of `tasks` tasks; call it once, before workers
        start.
        """
        self.tallies = measure.Tallies(self.folder, tasks)

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        return describe(self.peer)

    def need(self, kind: str) -> None:
        """Raises `UnavailableError` when the peer has no such task body, or cannot await a result
        (`results`).
        """
        if kind in ("results", "bulk"):
            if not self.description[kind]:
                raise UnavailableError(f"has no {kind}")
        elif kind not in self.description["kinds"]:
            raise UnavailableError(f"no task body {kind} for this peer")

    def _log(self) -> Path:
        self._logs += 1
        return self.folder / f"{self._logs}.log"

    def _spawn(self, log: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        with log.open("a") as errors:
            process = subprocess.Popen(
                [self.python, DRIVER, *arguments],
                env=self.environ,
                cwd=PEERS / self.peer.folder,
                stderr=errors,
                text=True,
                start_new_session=True,
                **options,
            )
        self._stack.callback(stop, process)
        return process

    def producer(self) -> Producer:
        log = self._log()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return Producer(self._spawn(log, "produce", **pipes), log)

    def execute(self, name: str, *arguments: str, read: bool = False) -> subprocess.Popen[str]:
        """Starts what the adapter's function `name` returns; `read` keeps its stdout."""
        stdout = subprocess.PIPE if read else subprocess.DEVNULL
        return self._spawn(self._log(), "exec", name, *arguments, stdout=stdout)

    @contextlib.contextmanager
    def workers(
        self, concurrency: int = 100, processes: int = 1, kind: str = "noop"
    ) -> Iterator[Workers]:
        log, sink = self._log(), {"stdout": subprocess.DEVNULL}
        copies = 1 if self.description["own_processes"] else processes
        words = ("worker", str(concurrency), str(processes), kind)
        spawned = [self._spawn(log, *words, **sink) for _ in range(copies)]
        try:
            yield Workers(spawned, log)
        finally:
            for process in spawned:
                stop(process)

    def wait(
        self,
        workers: Workers,
        done: Callable[[measure.Count], bool],
        timeout: float,
        pause: float = 0.02,
    ) -> measure.Count:
        """Reads the tallies until `done`.

        Raises:
            TrialError: a worker ended, or `timeout` seconds passed.
        """
        deadline = time.monotonic() + timeout
        while not done(count := self.tallies.read()):
            workers.check_alive()
            if time.monotonic() > deadline:
                raise TrialError(
                    f"{count.executed} tasks executed, {count.begun} begun in {timeout:.0f} s"
                )
            time.sleep(pause)
        return count

    def settle(self, timeout: float = 3.0) -> None:
        """Waits until traffic is quiet: acknowledgements follow the last task's end."""
        deadline, before = time.monotonic() + timeout, self.server.counters()["received"]
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.server.counters()["received"]
            if now - before < 2000:
                return
            before = now


def stop(process: subprocess.Popen[str]) -> None:
    """Ends the process and its session: politely for 3 seconds, then not."""
    for number, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    spoken = [line.strip() for line in lines if any(map(str.isalnum, line))]
    return spoken[-1][:300] if spoken else "it said nothing"


def _environ(peer: Peer, url: str, folder: Path, loop: str) -> dict[str, str]:
    keep = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PYTHON", "VIRTUAL_ENV", "CASTWORK_"))
    }
    return keep | {
        "PYTHONPATH": os.pathsep.join([str(PEERS / peer.folder), str(CHILD)]),
        "PATH": os.pathsep.join([str(environment(peer).parent), keep.get("PATH", "")]),
        "BENCH_URL": url,
        "BENCH_VARIANT": peer.variant,
        "BENCH_RUN_DIR": str(folder),
        "BENCH_LOOP": loop,
    }


@functools.cache
def describe(peer: Peer) -> dict[str, Any]:
    """Returns the versions, settings and abilities that the peer's adapter states."""
    environ = _environ(peer, "redis://127.0.0.1:1/0", BENCHMARKS, "auto")
    command = [str(environment(peer)), DRIVER, "describe"]
    done = subprocess.run(
        command,
        env=environ,
        cwd=PEERS / peer.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(
            f"adapter fails: {(done.stderr.strip().splitlines() or ['?'])[-1]}"[:300]
        )
    description: dict[str, Any] = json.loads(done.stdout)
    return description
