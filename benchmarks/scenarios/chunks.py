"""200 tasks that stream 50 chunks a second each, to as many readers of server-sent events, through
one gateway.
"""

import json
import socket
import subprocess
import sys
import time

from harness.child_environ import CHILD
from harness.measure import cpu_seconds
from harness.processes import TrialError
from harness.scenario import Column, Figures, Scenario
from harness.server import free_port
from harness.trial import Trial

STREAMS, PER_SECOND, SECONDS = 200, 50, 20


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TrialError("the gateway does not listen")


def run(trial: Trial) -> Figures:
    trial.need("stream")
    streams = trial.scaled(STREAMS, least=5)
    chunks = int(PER_SECOND * max(2.0, SECONDS * trial.scale))
    port, total = free_port(), streams * chunks
    producer = trial.producer()
    gateway = trial.execute("gateway_command", str(port))
    _wait_listening(port)
    with trial.workers(streams, kind="stream") as workers:
        paths = producer.ask("streams", count=streams, chunks=chunks)["paths"]
        trial.wait(workers, lambda count: count.begun >= streams, 30, pause=0.002)
        trial.server.reset_statistics()
        cpu, gateway_cpu = workers.cpu(), cpu_seconds([gateway.pid])
        server_cpu = trial.server.cpu()
        seen = _read(port, chunks, paths)
        trial.wait(workers, lambda count: count.executed >= streams, 30)
        after = trial.server.counters()
        if seen["received"] != total:
            raise TrialError(f"{seen['received']} of {total} chunks came")
        micro = 1e6 / total
        return {
            "worker": (workers.cpu() - cpu) * micro,
            "gateway": (cpu_seconds([gateway.pid]) - gateway_cpu) * micro,
            "server": (trial.server.cpu() - server_cpu) * micro,
            "calls": after["calls"] / total,
            "p50": seen["p50"] * 1000,
            "p99": seen["p99"] * 1000,
            "streams": streams,
        }


def _read(port: int, chunks: int, paths: list[str]) -> dict[str, float]:
    """Reads every path to its last chunk, in a process of its own."""
    limit = chunks / PER_SECOND * 3 + 10
    command = [sys.executable, str(CHILD / "readers.py"), str(port), str(chunks), str(limit)]
    done = subprocess.run(
        command,
        input="\n".join(paths),
        capture_output=True,
        check=False,
        text=True,
        timeout=limit + 30,
    )
    if done.returncode:
        raise TrialError(f"readers: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    seen: dict[str, float] = json.loads(done.stdout)
    return seen


SCENARIO = Scenario(
    "chunks",
    "Chunks: 200 streams of 50 chunks/s to 200 readers of server-sent events",
    (
        Column("worker", "worker CPU µs/chunk", "less", 1, main=True),
        Column("gateway", "gateway CPU µs/chunk", "less", 1, main=True),
        Column("server", "server CPU µs/chunk", "less", 1),
        Column("calls", "server commands/chunk", "less", 2),
        Column("p50", "delay p50 ms", "less", 1),
        Column("p99", "delay p99 ms", "less", 1),
        Column("streams", "streams"),
    ),
    run,
    only=frozenset({"castwork", "castwork-before", "floor-hiredis"}),
    note="Every chunk must arrive. Worker, gateway, server and readers share the machine's cores.",
)
