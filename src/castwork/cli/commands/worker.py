"""`castwork worker`: runs tasks until it is told to stop."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from castwork.cli.options import (
    Concurrency,
    Grace,
    Lease,
    Lifeline,
    Mark,
    Module,
    Queues,
    Redis,
    env,
)
from castwork.cli.supervise.bounds import Bounds
from castwork.cli.supervise.health import Health
from castwork.cli.supervise.worker_process import WorkerArguments
from castwork.model.codec import encode
from castwork.model.worker_options import WorkerOptions


def worker(  # noqa: PLR0913, PLR0917 - options are arguments
    module: Module,
    redis: Redis = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    lease: Lease = None,
    grace: Grace = None,
    burst: Annotated[
        bool, typer.Option("--burst", envvar=env("burst"), help="End when nothing waits any more.")
    ] = False,
    max_tasks: Annotated[
        int | None,
        typer.Option("--max-tasks", min=1, envvar=env("max_tasks"), help="End after so many."),
    ] = None,
    max_memory: Annotated[
        int | None,
        typer.Option(
            "--max-memory", metavar="MB", min=1, envvar=env("max_memory"), help="End above that."
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port", envvar=env("health_port"), help="Answer probes at this port."
        ),
    ] = None,
    health_file: Annotated[
        str | None,
        typer.Option(
            "--health-file",
            metavar="FILE",
            envvar=env("health_file"),
            help="Touch this file each second while all is well.",
        ),
    ] = None,
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
    arguments.bounds = Bounds(burst, max_tasks, max_memory)
    arguments.health = Health(health_port, health_file)
    # The new program does without the command line's libraries, which weigh 14 MB.
    program = [sys.executable, "-m", "castwork.cli.supervise.worker_process"]
    os.execv(sys.executable, [*program, encode(arguments).decode()])


def _split(names: str | None) -> list[str] | None:
    """Split `a,b` into its names; None for None."""
    if names is None:
        return None
    return [name.strip() for name in names.split(",") if name.strip()]
