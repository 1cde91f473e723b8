"""The options of workers: as users write them, and as checked settings."""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec

from castwork.model.option_values import Check, Seconds, count, duration, refuse_unknown, settle


class WorkerOptions(TypedDict, total=False):
    """What `app.worker(...)` takes; see `WorkerSettings` for units and defaults."""

    concurrency: int
    lease: Seconds
    grace: Seconds
    block: Seconds
    announce_after: Seconds
    scheduler_interval: Seconds
    heartbeat: Seconds
    unknown_grace: Seconds
    pool_size: int
    pool_max_tasks: int
    pool_max_memory: int


_CHECKS: dict[str, Check] = {
    "concurrency": count(),
    "lease": duration(least=0.3),
    "grace": duration(),
    "block": duration(above_zero=True),
    "announce_after": duration(),
    "scheduler_interval": duration(above_zero=True),
    "heartbeat": duration(above_zero=True),
    "unknown_grace": duration(),
    "pool_size": count(least=0),
    "pool_max_tasks": count(least=0),
    "pool_max_memory": count(least=0),
}


class WorkerSettings(msgspec.Struct, frozen=True):
    """How a worker behaves.

    Args:
        concurrency: tasks of one queue that run at once.
        lease: seconds that an attempt is owned without renewal. The worker renews each third of
            a lease; tasks of a lost worker come back after about one lease.
        grace: seconds that running tasks get to finish on SIGTERM.
        block: seconds that an idle read waits on the server.
        announce_after: seconds after which a task that still runs is announced as `running`.
        scheduler_interval: seconds between looks for due tasks.
        heartbeat: seconds between signs of life.
        unknown_grace: seconds for which a task whose function this worker does not have is left to
            other workers, before it becomes a dead letter.
        pool_size: child processes that run functions with `run_in="process"` at once; 0 for one per
            core.
        pool_max_tasks: tasks after which a child process is replaced; 0 for no bound.
        pool_max_memory: megabytes that a child process may have after a task before it is
            replaced; 0 for no bound.
    """

    concurrency: int = 100
    lease: float = 15.0
    grace: float = 20.0
    block: float = 2.0
    announce_after: float = 0.02
    scheduler_interval: float = 0.5
    heartbeat: float = 2.0
    unknown_grace: float = 600.0
    pool_size: int = 0
    pool_max_tasks: int = 0
    pool_max_memory: int = 0

    def __post_init__(self) -> None:
        settle(self, _CHECKS)

    @classmethod
    def of(cls, options: WorkerOptions) -> WorkerSettings:
        """The settings of a worker.

        Raises:
            DefinitionError: an option is unknown or has no such value; it is named.
        """
        refuse_unknown("a worker", options, cls.__struct_fields__)
        values: dict[str, Any] = dict(options)
        return cls(**values)
