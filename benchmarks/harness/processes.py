"""The processes of a trial: the producer that takes requests, the workers, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from . import measure


class TrialError(Exception):
    """The peer did not do what the scenario asks; the message goes into the report."""


class Producer:
    """A driver process that produces; see child/producing.py for the requests."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        return measure.cpu_seconds([self.pid])

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
