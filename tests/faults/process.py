"""Worker processes that tests start, hurt and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis
from tests.eventually import eventually

_PROGRAM = Path(__file__).with_name("sample_app.py")


class Process:
    """One process of the sample app."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log_path = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, str(_PROGRAM)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.is_alive:
            self._popen.kill()
        self._popen.wait()

    def terminate(self) -> None:
        """SIGTERM; it stops in its own time."""
        self._popen.terminate()

    def pause(self) -> None:
        self._popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    async def ended(self, within: float = 20.0) -> int:
        """Wait for the end, and return the exit code."""
        await eventually(lambda: not self.is_alive, within=within, what="the process ends")
        return int(self._popen.returncode)

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.kill()
        if self._popen.stdin is not None:
            self._popen.stdin.close()


class Crew:
    """Starts processes for one test and ends them all."""

    def __init__(self, url: str, namespace: str, folder: Path) -> None:
        self.url = url
        self.namespace = namespace
        self._folder = folder
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self.processes: list[Process] = []

    def start(
        self,
        queues: list[str] | None = None,
        *,
        url: str = "",
        history: int = 500,
        **options: Any,
    ) -> Process:
        """Start a worker, without waiting for it. No queues (`[]`): channel handlers only."""
        settings = {"lease": 1.0, "block": 0.5, "scheduler_interval": 0.1, "heartbeat": 0.5}
        environment = {k: v for k, v in os.environ.items() if k != "CASTWORK_URL"}
        environment |= {
            "FAULTS_URL": url or self.url,
            "FAULTS_NOTES_URL": self.url,
            "FAULTS_NAMESPACE": self.namespace,
            "FAULTS_OPTIONS": json.dumps(
                {"queues": ["work"] if queues is None else queues, "history": history}
                | ({} if queues == [] else settings | options)
            ),
        }
        log = self._folder / f"process-{len(self.processes)}.log"
        process = Process(environment, log)
        self.processes.append(process)
        return process

    async def started(self, *processes: Process) -> None:
        """Wait until processes serve their queues."""
        for process in processes:
            await eventually(
                lambda process=process: self._is_ready(process), within=20, what="it is ready"
            )

    async def one(self, queues: list[str] | None = None, **options: Any) -> Process:
        """Start a process and wait until it serves its queues."""
        process = self.start(queues, **options)
        await self.started(process)
        return process

    def _is_ready(self, process: Process) -> bool:
        assert process.is_alive, process.log()
        return bool(self._client.sismember(f"{self.namespace}:notes:ready", str(process.pid)))

    def end(self) -> None:
        for process in self.processes:
            process.end()
        self._client.close()
