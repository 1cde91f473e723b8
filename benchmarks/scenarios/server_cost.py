"""What the server pays for a task from its enqueue to its stored result, and for one that waits."""

from harness.drains import drain
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

MICRO = 1e6


def run(trial: Trial) -> Figures:
    tasks = trial.tasks(seconds=2)
    done = drain(trial, tasks)
    enqueue, finish = done.fill.server_cpu / tasks * MICRO, done.server_cpu / tasks * MICRO
    return {
        "server": enqueue + finish,
        "enqueue": enqueue,
        "finish": finish,
        "producer": done.fill.producer_cpu / tasks * MICRO,
        "worker": done.worker_cpu_per_task * MICRO,
        "bytes": done.fill.bytes_per_task,
        "tasks": tasks,
    }


SCENARIO = Scenario(
    "server_cost",
    "Server cost: a no-op from its enqueue to its stored result",
    (
        Column("server", "server CPU µs/task", "less", 2, main=True),
        Column("enqueue", "of it enqueue", "less", 2),
        Column("finish", "of it claim and finish", "less", 2),
        Column("producer", "producer CPU µs/task", "less", 2),
        Column("worker", "worker CPU µs/task", "less", 2, main=True),
        Column("bytes", "server bytes/waiting task", "less", main=True),
        Column("tasks", "tasks"),
    ),
    run,
    note=(
        "A producer enqueues all tasks in bulk, then one worker of concurrency 100 drains them. "
        "CPU by the kernel's clock, all threads: of the server during the enqueue and since the "
        "worker was started, of the worker from its first task until traffic is quiet."
    ),
)
