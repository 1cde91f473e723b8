"""`castwork worker`: runs tasks until it is told to stop."""

from __future__ import annotations

import os
import sys

from castwork.cli.options import Concurrency, Grace, Lease, Lifeline, Mark, Module, Queues, Redis
from castwork.cli.supervise.worker_process import WorkerArguments
from castwork.model.codec import encode
from castwork.model.worker_options import WorkerOptions


def worker(
    module: Module,
    redis: Redis = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    lease: Lease = None,
    grace: Grace = None,
    lifeline: Lifeline = None,
    mark: Mark = "",
) -> None:
    """Run tasks. SIGTERM lets the running ones finish; a second one ends at once."""
    options = WorkerOptions()
    if concurrency is not None:
        options["concurrency"] = concurrency
    if lease is not None:
        options["lease"] = lease
    if grace is not None:
        options["grace"] = grace
    arguments = WorkerArguments(module, redis, _split(queues), options, lifeline, mark)
    # The new program does without the command line's libraries, which weigh 14 MB.
    program = [sys.executable, "-m", "castwork.cli.supervise.worker_process"]
    os.execv(sys.executable, [*program, encode(arguments).decode()])


def _split(names: str | None) -> list[str] | None:
    """Split `a,b` into its names; None for None."""
    if names is None:
        return None
    return [name.strip() for name in names.split(",") if name.strip()]
