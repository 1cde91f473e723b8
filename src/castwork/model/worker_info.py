"""What a worker tells about itself on the register of live workers."""

from __future__ import annotations

import msgspec

#: Milliseconds of silence after which a worker is taken off the register.
FORGET_AFTER_MS = 30_000

#: Running tasks, and functions, listed per worker.
LISTED = 100


class RunningTask(msgspec.Struct):
    """A task that a worker runs: id, function, attempt and start (seconds since 1970)."""

    task_id: str
    task: str
    attempt: int
    started_at: float | None


class WorkerInfo(msgspec.Struct):
    """What a worker tells about itself.

    Attributes:
        id: unique for this start of the process.
        capacity: tasks that the worker runs at once, over all queues.
        load: tasks that the worker runs now.
        running: the running tasks, 100 of them at most.
        processed: outcomes since the worker's start, by kind.
        v: version of the format.
        functions: names of the functions that the worker has, 100 of them at most.
        mark: what the supervisor that started the worker calls this start; empty without one.
    """

    id: str
    host: str
    pid: int
    started_at: float
    queues: list[str]
    capacity: int
    load: int
    running: list[RunningTask]
    processed: dict[str, int]
    v: int = 1
    functions: list[str] = []
    mark: str = ""
