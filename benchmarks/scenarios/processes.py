"""1, 2 and 4 worker processes with tasks that use 1 ms of CPU each."""

import time

from harness.drains import TIMEOUT, fill, verify
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

CONCURRENCY = 10  # low, so that no process sits on work at the end that another could do


def run(trial: Trial) -> Figures:
    trial.need("burn1ms")
    tasks = trial.scaled(int(min(trial.peer.pace, 800) * 5), least=200)
    figures: Figures = {}
    for processes in (1, 2, 4):
        with trial.again() as level:
            figures[f"p{processes}"] = _rate(level, tasks, processes)
    return figures | {"speedup": figures["p2"] / figures["p1"]}


def _rate(trial: Trial, tasks: int, processes: int) -> float:
    """Measures from when every process works, since they do not start at the same moment."""
    trial.expect(tasks)
    producer = trial.producer()
    fill(trial, producer, tasks, "burn1ms")
    with trial.workers(CONCURRENCY, processes, "burn1ms") as workers:
        before = trial.wait(
            workers,
            lambda count: count.processes >= processes or count.executed >= tasks / 2,
            60,
            pause=0.002,
        )
        started = time.monotonic()
        after = trial.wait(workers, lambda count: count.executed >= tasks, TIMEOUT)
        trial.settle()
        verify(trial, producer, tasks)
    return (after.executed - before.executed) / (after.last - started)


SCENARIO = Scenario(
    "processes",
    "Processes: tasks of 1 ms of CPU",
    (
        Column("p1", "1 process/s", main=True),
        Column("p2", "2 processes/s", main=True),
        Column("p4", "4 processes/s"),
        Column("speedup", "2 over 1", digits=2),
    ),
    run,
    note=(
        "1 ms of the thread's own CPU time, so at most 1,000 tasks/s per core; the server needs "
        "CPU as well. Measured from when every process works."
    ),
)
