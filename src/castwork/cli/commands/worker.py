"""`castwork worker`: runs tasks until it is told to stop."""

from __future__ import annotations

import os
import sys
from typing import cast

import typer

from castwork.cli.options import (
    Burst,
    Concurrency,
    Grace,
    HealthFile,
    HealthPort,
    Lease,
    Lifeline,
    LogFormat,
    LogLevel,
    Mark,
    MaxMemory,
    MaxTasks,
    Module,
    PoolMaxMemory,
    PoolMaxTasks,
    PoolSize,
    Queues,
    Redis,
    Reload,
)
from castwork.cli.supervise.bounds import Bounds
from castwork.cli.supervise.health import Health
from castwork.cli.supervise.logs import LogOptions
from castwork.cli.supervise.worker_process import WorkerArguments
from castwork.model.codec import encode
from castwork.model.worker_options import WorkerOptions, WorkerSettings


def worker(  # noqa: PLR0913, PLR0917 - options are arguments
    module: Module,
    redis: Redis = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    lease: Lease = None,
    grace: Grace = None,
    burst: Burst = False,
    max_tasks: MaxTasks = None,
    max_memory: MaxMemory = None,
    pool_size: PoolSize = None,
    pool_max_tasks: PoolMaxTasks = None,
    pool_max_memory: PoolMaxMemory = None,
    health_port: HealthPort = None,
    health_file: HealthFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = "text",
    reload: Reload = False,
    lifeline: Lifeline = None,
    mark: Mark = "",
) -> None:
    """Run tasks. SIGTERM lets the running ones finish; a second one ends at once."""
    said = {
        "concurrency": concurrency,
        "lease": lease,
        "grace": grace,
        "pool_size": pool_size,
        "pool_max_tasks": pool_max_tasks,
        "pool_max_memory": pool_max_memory,
    }
    options = cast("WorkerOptions", {name: one for name, one in said.items() if one is not None})
    logs = LogOptions(log_level or "", log_format)
    if reload:
        from castwork.cli.supervise.reloading import run_reloading

        seconds = WorkerSettings.of(options).grace
        raise typer.Exit(run_reloading(module, redis, sys.argv[1:], grace=seconds, logs=logs))
    arguments = WorkerArguments(module, redis, _split(queues), options, lifeline, mark)
    arguments.bounds = Bounds(burst, max_tasks, max_memory)
    arguments.health = Health(health_port, health_file)
    arguments.logs = logs
    # The new program does without the command line's libraries, which weigh 14 MB.
    program = [sys.executable, "-m", "castwork.cli.supervise.worker_process"]
    os.execv(sys.executable, [*program, encode(arguments).decode()])


def _split(names: str | None) -> list[str] | None:
    """Split `a,b` into its names; None for None."""
    if names is None:
        return None
    return [name.strip() for name in names.split(",") if name.strip()]
