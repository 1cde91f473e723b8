"""The options of workers: as users write them, and as checked settings."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from castwork.model.errors import DefinitionError


class WorkerOptions(TypedDict, total=False):
    """What `app.worker(...)` takes; see `WorkerSettings` for units and defaults."""

    concurrency: int
    lease: float
    grace: float
    block: float
    announce_after: float
    scheduler_interval: float
    heartbeat: float


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
    """

    concurrency: int = 100
    lease: float = 15.0
    grace: float = 20.0
    block: float = 2.0
    announce_after: float = 0.02
    scheduler_interval: float = 0.5
    heartbeat: float = 2.0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise DefinitionError("concurrency must be at least 1")
        if self.lease < 0.3:
            raise DefinitionError("lease must be at least 0.3 seconds")
