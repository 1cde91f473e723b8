"""Start-up: the import, a worker until its first task ends, and a server (castwork: its embedded
one).
"""

import subprocess
import time
from statistics import median

from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

PROBE = """
import sys, time
before, start = set(sys.modules), time.perf_counter()
{statement}
print(time.perf_counter() - start, len(set(sys.modules) - before))
"""


def _import(trial: Trial) -> tuple[float, float]:
    """Returns the milliseconds and the number of modules of importing the peer in a fresh
    interpreter.
    """
    probe = PROBE.format(statement=trial.description["import"])
    rows = []
    for _ in range(6):  # the first one may write bytecode
        done = subprocess.run(
            [trial.python, "-c", probe],
            env=trial.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append(tuple(map(float, done.stdout.split())))
    return median(row[0] for row in rows[1:]) * 1000, rows[-1][1]


def run(trial: Trial) -> Figures:
    milliseconds, modules = _import(trial)
    figures = {
        "import": milliseconds,
        "modules": modules,
        "server": trial.server.startup_seconds * 1000,
    }
    trial.expect(1)
    trial.producer().enqueue(1, mode="one")
    with trial.workers() as workers:
        count = trial.wait(workers, lambda count: count.executed == 1, 60, pause=0.002)
        figures["worker"] = (count.last - workers.started) * 1000
    if trial.description["embedded"]:
        started = time.perf_counter()
        process = trial.execute("embedded_command", read=True)
        if process.stdout and process.stdout.readline().strip() == "ready":
            figures["embedded"] = (time.perf_counter() - started) * 1000
    return figures


SCENARIO = Scenario(
    "startup",
    "Start-up: milliseconds",
    (
        Column("import", "import", "less", 1, main=True),
        Column("modules", "modules imported", "less"),
        Column("worker", "worker to first result", "less", main=True),
        Column("server", "bare server", "less"),
        Column("embedded", "process with embedded server", "less"),
    ),
    run,
    note=(
        "Worker: from spawning the process to the end of a task that waited for it. Embedded: "
        "from spawning Python until the application has answered by its own server."
    ),
)
