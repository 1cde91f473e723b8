"""`castwork worker`: runs tasks until it is told to stop."""

from __future__ import annotations

import os
import sys

from castwork.cli.options import Concurrency, Grace, Lease, Lifeline, Module, Queues, Redis
from castwork.cli.worker_process import WorkerPlan
from castwork.model.codec import encode
from castwork.tasks.options import WorkerOptions


def worker(
    module: Module,
    redis: Redis = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    lease: Lease = None,
    grace: Grace = None,
    lifeline: Lifeline = None,
) -> None:
    """Run tasks. SIGTERM lets the running ones finish; a second one ends at once."""
    options = WorkerOptions()
    if concurrency is not None:
        options["concurrency"] = concurrency
    if lease is not None:
        options["lease"] = lease
    if grace is not None:
        options["grace"] = grace
    plan = WorkerPlan(module, redis, _split(queues), options, lifeline)
    # The process becomes one without the command line's libraries, which weigh 14 MB.
    arguments = [sys.executable, "-m", "castwork.cli.worker_process", encode(plan).decode()]
    os.execv(sys.executable, arguments)


def _split(names: str | None) -> list[str] | None:
    """Split `a,b` in its names; None for None."""
    if names is None:
        return None
    return [name.strip() for name in names.split(",") if name.strip()]
