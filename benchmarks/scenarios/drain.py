"""Empties a queue of no-ops whose results are stored, with one worker process."""

from harness.drains import drain
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial


def run(trial: Trial) -> Figures:
    done = drain(trial, trial.tasks(seconds=2))
    return {"rate": done.count.rate, "tasks": done.tasks}


SCENARIO = Scenario(
    "drain",
    "Drain: no-ops with stored results, one worker process, concurrency 100",
    (Column("rate", "tasks/s", main=True), Column("tasks", "tasks")),
    run,
    note="(tasks - 1) / (last end - first start), counted by the task bodies in the worker.",
)
