"""The measurement that several scenarios share: a filled queue, then a worker that empties it."""

import time
from dataclasses import dataclass

from .measure import Count, Memory
from .server import Numbers
from .trial import Producer, Trial, TrialError

TIMEOUT = 180.0
CLIENTS_COUNTED = 1.2  # seconds in which the server counts the buffers of all connections anew


@dataclass(frozen=True)
class Drain:
    """What emptying a queue of `tasks` tasks took; CPU and calls from the first start until traffic
    is quiet.
    """

    tasks: int
    count: Count
    worker_cpu: float
    server_cpu: float
    calls: float
    commands: Numbers
    memory: Memory
    bytes_per_task: float
    start_seconds: float


def fill(trial: Trial, producer: Producer, tasks: int, kind: str = "noop") -> float:
    """Enqueues `tasks` tasks the fastest way and returns the server's bytes per waiting task."""
    empty = trial.server.counters()["memory"]
    producer.enqueue(tasks, kind)
    time.sleep(CLIENTS_COUNTED)
    return (trial.server.counters()["memory"] - empty) / tasks


def drain(
    trial: Trial, tasks: int, kind: str = "noop", concurrency: int = 100, processes: int = 1
) -> Drain:
    """Fills the queue, starts the worker, and measures from its first task to quiet.

    Raises:
        TrialError: a task never ran, most results are missing or wrong, or it took too long.
    """
    trial.need(kind)
    trial.expect(tasks)
    producer = trial.producer()
    size = fill(trial, producer, tasks, kind)
    trial.server.reset_statistics()
    with trial.workers(concurrency, processes, kind) as workers:
        started = trial.wait(workers, lambda count: count.begun > 0, 30, pause=0.002)
        cpu, server_cpu = workers.cpu(), trial.server.counters()["cpu"]
        count = trial.wait(workers, lambda count: count.executed >= tasks, TIMEOUT)
        trial.settle()
        after = trial.server.counters()
        done = Drain(
            tasks,
            count,
            workers.cpu() - cpu,
            after["cpu"] - server_cpu,
            after["calls"],
            trial.server.calls_by_command(),
            workers.memory(),
            size,
            started.first - workers.started,
        )
        verify(trial, producer, tasks)
    return done


def verify(trial: Trial, producer: Producer, tasks: int) -> None:
    """Sees that every task ran once and that results are where the peer keeps them.

    A few tasks that ran twice or lost their result do not change a rate, but they are remarked
    upon beside the figures.

    Raises:
        TrialError: a task never ran, or over a tenth of the sampled results is missing or wrong.
    """
    never, twice = trial.tallies.seen(tasks)
    if never:
        raise TrialError(f"{never} of {tasks} tasks never ran, {twice} ran more than once")
    if twice:
        trial.remarks.append(f"{twice} of {tasks} tasks ran more than once")
    if trial.description["results"]:
        check = producer.ask("check")
        found = f"{check['right']} of {check['checked']} sampled results were there and right"
        if check["right"] < 0.9 * check["checked"]:
            raise TrialError(found)
        if check["right"] < check["checked"]:
            trial.remarks.append(found)
