"""`castwork worker`: runs tasks until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Sequence

from castwork.app import App, WorkerOptions
from castwork.cli.failure import STUCK
from castwork.cli.lifeline import watch_lifeline
from castwork.cli.loading import load_app
from castwork.cli.logs import configure_logging
from castwork.cli.loops import run_loop
from castwork.cli.options import Concurrency, Grace, Lease, Lifeline, Module, Queues, Redis
from castwork.cli.session import refuse_private
from castwork.cli.signals import on_stop_signals
from castwork.model.settings import WorkerSettings

logger = logging.getLogger(__name__)


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
    configure_logging()
    watch_lifeline(lifeline, grace=WorkerSettings().grace if grace is None else grace)
    options = WorkerOptions()
    if concurrency is not None:
        options["concurrency"] = concurrency
    if lease is not None:
        options["lease"] = lease
    if grace is not None:
        options["grace"] = grace
    app = load_app(module, redis)
    refuse_private(app)
    run_loop(_run(app, split_names(queues), options))


def split_names(names: str | None) -> list[str] | None:
    """Split `a,b` in its names; None for None."""
    if names is None:
        return None
    return [name.strip() for name in names.split(",") if name.strip()]


async def _run(app: App, queues: Sequence[str] | None, options: WorkerOptions) -> None:
    made = app.worker(queues, on_stuck=_leave_stuck, **options)
    stopped = asyncio.Event()

    def stop() -> None:
        logger.info("stopping")
        stopped.set()
        made.stop()

    on_stop_signals(stop, lambda: os._exit(1))
    try:
        await app.connections.open()
        await app.open()
        if stopped.is_set():
            return
        running = asyncio.create_task(made.run())
        started = asyncio.create_task(made.started.wait())
        await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        # What lives by now lives on: the collector need not look at it again and again.
        gc.freeze()
        gc.set_threshold(*_COLLECT)
        await running
    finally:
        await app.close()


#: Garbage is looked for less often than Python's 700 new objects: tasks make little of it.
_COLLECT = (10_000, 20, 50)


def _leave_stuck(culprit: str) -> None:
    """End a process whose event loop is blocked for good: its tasks come back elsewhere."""
    logger.critical("the event loop is blocked for good, the process ends; by %s", culprit)
    logging.shutdown()
    os._exit(STUCK)
