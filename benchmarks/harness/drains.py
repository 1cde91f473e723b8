"""The measurement that several scenarios share: a filled queue, then a worker that empties it."""

import time
from dataclasses import dataclass

from .measure import Count, Memory
from .processes import Producer, TrialError
from .server import Numbers
from .trial import Trial

TIMEOUT = 180.0
CLIENTS_COUNTED = 1.2  # seconds in which the server counts the buffers of all connections anew


@dataclass(frozen=True)
class Fill:
    """What enqueueing the tasks took: CPU seconds, and the server's bytes per waiting task."""

    server_cpu: float
    producer_cpu: float
    bytes_per_task: float


@dataclass(frozen=True)
class Drain:
    """What emptying a queue of `tasks` tasks took.

    The worker's CPU is per task that ended after it was first read, until traffic is quiet, so that
    its start is not counted; the server's is all since the worker was started.
    """

    tasks: int
    fill: Fill
    count: Count
    worker_cpu_per_task: float
    server_cpu: float
    calls: float
    commands: Numbers
    memory: Memory


def fill(trial: Trial, producer: Producer, tasks: int, kind: str = "noop") -> Fill:
    """Enqueues `tasks` tasks the fastest way."""
    empty = trial.server.counters()["memory"]
    server_cpu, producer_cpu = trial.server.cpu(), producer.cpu()
    producer.enqueue(tasks, kind)
    server_cpu, producer_cpu = trial.server.cpu() - server_cpu, producer.cpu() - producer_cpu
    time.sleep(CLIENTS_COUNTED)
    return Fill(server_cpu, producer_cpu, (trial.server.counters()["memory"] - empty) / tasks)


def drain(
    trial: Trial, tasks: int, kind: str = "noop", concurrency: int = 100, processes: int = 1
) -> Drain:
    """Fills the queue, starts the worker, and measures until traffic is quiet.

    Raises:
        TrialError: a task never ran, most results are missing or wrong, or it took too long.
    """
    trial.need(kind)
    trial.expect(tasks)
    producer = trial.producer()
    filled = fill(trial, producer, tasks, kind)
    trial.server.reset_statistics()
    server_cpu = trial.server.cpu()
    with trial.workers(concurrency, processes, kind) as workers:
        trial.wait(workers, lambda count: count.begun > 0, 30, pause=0.002)
        cpu, already = workers.cpu(), trial.tallies.read().executed
        count = trial.wait(workers, lambda count: count.executed >= tasks, TIMEOUT)
        trial.settle()
        after = trial.server.counters()
        done = Drain(
            tasks,
            filled,
            count,
            (workers.cpu() - cpu) / max(1, tasks - already),
            trial.server.cpu() - server_cpu,
            after["calls"],
            trial.server.calls_by_command(),
            workers.memory(),
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
