"""One trial: one peer, one fresh server, one run directory, and the processes that run in it."""

import contextlib
import functools
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import measure
from .catalog import Peer
from .child_environ import DRIVER, describe, environ
from .envs import PEERS, UnavailableError, environment
from .processes import Producer, TrialError, Workers, stop
from .server import Server

ABILITIES = {
    "results": "keeps no results",
    "waits": "has no call that waits for a result",
    "bulk": "has no bulk call",
}


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
        self.environ = environ(peer, self.server.url, self.folder, loop)
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
        """Raises `UnavailableError` when the peer has no such task body or ability."""
        if kind in ABILITIES:
            if not self.description[kind]:
                raise UnavailableError(ABILITIES[kind])
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
