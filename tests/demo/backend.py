"""The demo as it runs for people: a server, a gateway and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
from tests.eventually import wait_until

# Seconds: what a killed worker held comes back after about that. Loading the model holds the
# GIL, on a busy machine for two seconds; a lease must outlast that.
LEASE = 5.0

#: Seconds until a test that waits has failed: a real model, on a machine that may be busy.
PATIENCE = 60.0

# A process of these tests ends when its parent has ended, however that came about.
LIFELINE = """
import os, threading
threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()
"""

WORKER = f"""
import asyncio, logging, signal
from castwork.demo import app

async def main():
    worker = app.worker(concurrency=4, lease={LEASE}, heartbeat=0.5)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    async with app:
        await worker.run()

logging.basicConfig(level="WARNING")
asyncio.run(main())
"""

GATEWAY = """
import sys, uvicorn
from castwork.demo import api
uvicorn.run(api, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning",
            timeout_graceful_shutdown=1)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Backend:
    """The processes of one demo, and a client of its gateway."""

    def __init__(self, server_url: str, stack: ExitStack) -> None:
        self._environment = os.environ | {
            "CASTWORK_URL": server_url,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self._stack = stack
        self._port = str(free_port())
        self.url = f"http://127.0.0.1:{self._port}"
        self.http = stack.enter_context(httpx.Client(base_url=self.url, timeout=60))
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_gateway()

    def start_gateway(self) -> None:
        """Starts the gateway, always on the same port, and waits until it answers."""
        self.gateway = self._start(GATEWAY, self._port)
        wait_until(self._answers, "the gateway did not start", within=PATIENCE)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Starts a worker process, and waits until it serves."""
        worker = self._start(WORKER)
        self.workers.append(worker)
        wait_until(
            lambda: worker.pid in self.worker_pids(), "the worker did not start", within=PATIENCE
        )
        return worker

    def worker_pids(self) -> set[int]:
        """The live workers' process ids, as the gateway tells them."""
        workers = self.http.get("/workers").raise_for_status().json()
        return {worker["pid"] for worker in workers if not worker["lost"]}

    def ask(self, prompt: str, **more: str) -> str:
        """Queues a prompt and returns the task id."""
        reply = self.http.post("/api/inference", json={"prompt": prompt, **more})
        assert reply.status_code == 202, reply.text
        assert reply.json()["status"] == "queued"
        return str(reply.json()["task_id"])

    def upload(self, name: str, content: bytes) -> httpx.Response:
        return self.http.post("/api/process-document", files={"file": (name, content)})

    def status(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/tasks/{task_id}").raise_for_status().json()
        return found

    def events(self, task_id: str, after: str = "") -> Iterator[tuple[str, str, Any]]:
        """Follows a task: name, id and data of each server-sent event, until the result."""
        parameters = {"after": after} if after else {}
        with self.http.stream("GET", f"/tasks/{task_id}/events", params=parameters) as reply:
            assert reply.status_code == 200
            fields: dict[str, str] = {}
            for line in reply.iter_lines():
                name, _, value = line.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                elif "event" in fields:
                    data = json.loads(fields.get("data") or "null")
                    yield fields["event"], fields.get("id", ""), data
                    fields = {}

    def kill_worker_of(self, task_id: str) -> None:
        """Ends the worker that runs a task, by SIGKILL, and starts another."""
        name = wait_until(
            lambda: self.status(task_id).get("worker"), "no worker took the task", within=PATIENCE
        )
        workers = self.http.get("/workers").json()
        pid = next(worker["pid"] for worker in workers if worker["id"] == name)
        victim = next(worker for worker in self.workers if worker.pid == pid)
        victim.kill()
        victim.wait()
        self.workers.remove(victim)
        self.start_worker()

    def outcome(self, task_id: str) -> dict[str, Any]:
        """Waits for the end of a task and returns its record."""
        final = ("succeeded", "failed", "cancelled", "expired", "dead")

        def ended() -> dict[str, Any] | None:
            status = self.status(task_id)
            return status if status["status"] in final else None

        found: dict[str, Any] = wait_until(ended, f"{task_id} did not end", within=PATIENCE)
        return found

    def settle(self) -> None:
        """Waits until killed processes are forgotten: receipts wait for them for 15 s."""

        def settled() -> bool:
            reply = self.sampling()
            return len(reply["applied"]) == 3 and not reply["lagging"]

        wait_until(settled, "a process that was killed still counts", within=PATIENCE)

    def sampling(self, **values: float) -> dict[str, Any]:
        reply = self.http.put("/api/settings", json=values)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def _answers(self) -> bool:
        assert self.gateway.poll() is None, "the gateway ended at its start"
        with suppress(httpx.TransportError):
            return self.http.get("/workers").is_success
        return False

    def _start(self, code: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", LIFELINE + code, *arguments]
        process = subprocess.Popen(command, env=self._environment, stdin=subprocess.PIPE)
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes its stdin, too
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
