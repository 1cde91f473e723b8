"""What an idle worker costs over a minute: its CPU, the server's CPU, commands per second."""

import time

from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial


def run(trial: Trial) -> Figures:
    seconds = max(3.0, 60 * trial.scale)
    trial.expect(1)
    producer = trial.producer()
    with trial.workers() as workers:
        producer.enqueue(1, mode="one")
        trial.wait(workers, lambda count: count.executed == 1, 60)
        trial.settle()
        time.sleep(1)  # what follows the first task, such as a trim or a snapshot, is not idling
        before, cpu, server_cpu = trial.server.counters(), workers.cpu(), trial.server.cpu()
        time.sleep(seconds)
        server_cpu = trial.server.cpu() - server_cpu
        after = trial.server.counters()
        return {
            "cpu": (workers.cpu() - cpu) / seconds * 100,
            "server": server_cpu / seconds * 100,
            "calls": (after["calls"] - before["calls"]) / seconds,
            "pss": workers.memory().pss,
        }


SCENARIO = Scenario(
    "idle",
    "Idle: one worker with nothing to do",
    (
        Column("cpu", "worker CPU %", "less", 2, main=True),
        Column("server", "server CPU %", "less", 2),
        Column("calls", "commands/s", "less", 1),
        Column("pss", "PSS MB", "less", 1),
    ),
    run,
)
