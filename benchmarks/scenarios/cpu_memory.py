"""What a task costs: CPU of worker and server, memory of the worker process and of a waiting task,
commands.
"""

from harness.drains import drain
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial


def run(trial: Trial) -> Figures:
    done = drain(trial, trial.tasks(seconds=2))
    return {
        "cpu": done.worker_cpu_per_task * 10_000,
        "server": done.server_cpu / done.tasks * 1e6,
        "calls": done.calls / done.tasks,
        "pss": done.memory.pss,
        "peak": done.memory.peak,
        "bytes": done.fill.bytes_per_task,
    } | {f"command {name}": calls / done.tasks for name, calls in done.commands.items()}


SCENARIO = Scenario(
    "cpu_memory",
    "Cost: no-ops with stored results, one worker process, concurrency 100",
    (
        Column("cpu", "worker CPU s/10,000", "less", 2, main=True),
        Column("server", "server CPU µs/task", "less", 1, main=True),
        Column("calls", "commands/task", "less", 2),
        Column("peak", "peak RSS MB", "less", 1, main=True),
        Column("pss", "PSS MB", "less", 1),
        Column("bytes", "server bytes/waiting task", "less", main=True),
    ),
    run,
    note=(
        "Of the worker the whole process tree, from its first task until traffic is quiet; of "
        "the server all since the worker was started. Peak RSS sums each process's highest, so "
        "shared pages of forks count twice; PSS counts them once. Commands include those "
        "inside scripts."
    ),
)
