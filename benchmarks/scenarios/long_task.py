"""Tasks that run 30 ms, each with a caller that waits for its result: what most real tasks are."""

from statistics import median

from harness.processes import Producer
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

CALLERS, SECONDS = 100, 0.03
MICRO = 1e6
LIMIT = 20.0  # seconds: a client that blocks has one task in the air, whatever the callers


def _awaited(producer: Producer, count: int) -> list[float]:
    """Returns the seconds from each task's enqueue to its result."""
    samples: list[float] = producer.ask(
        "awaited", kind="sleep30", count=count, callers=CALLERS, seconds=LIMIT
    )["samples"]
    return samples


def run(trial: Trial) -> Figures:
    trial.need("waits")
    trial.need("sleep30")
    trial.expect(0)
    with trial.workers(CALLERS, kind="sleep30") as workers:
        producer = trial.producer()
        # Connections, scripts and subscriptions are there before it is measured.
        _awaited(producer, CALLERS)
        trial.settle()
        trial.server.reset_statistics()
        before = trial.server.cpu(), producer.cpu(), workers.cpu()
        samples = _awaited(producer, trial.scaled(5000, least=CALLERS))
        trial.settle()
        after = trial.server.cpu(), producer.cpu(), workers.cpu()
        calls = trial.server.counters()["calls"]
    tasks = len(samples)
    used = [(end - start) / tasks * MICRO for start, end in zip(before, after, strict=True)]
    return {
        **dict(zip(("server", "caller", "worker"), used, strict=True)),
        "calls": calls / tasks,
        "over": (median(samples) - SECONDS) * 1000,
        "tasks": tasks,
    }


SCENARIO = Scenario(
    "long_task",
    "Long tasks: 30 ms each, its caller waits for the result",
    (
        Column("server", "server CPU µs/task", "less", 1, main=True),
        Column("caller", "caller CPU µs/task", "less", 1),
        Column("worker", "worker CPU µs/task", "less", 1, main=True),
        Column("calls", "commands/task", "less", 2),
        Column("over", "p50 above 30 ms, ms", "less", 2),
        Column("tasks", "tasks"),
    ),
    run,
    note=(
        "100 callers in one process, each of which enqueues a task, waits for its result and goes "
        "on with the next; one worker of concurrency 100. Commands include those inside scripts."
    ),
)
