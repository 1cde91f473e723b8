"""The process of a worker: `castwork worker` once its arguments are read."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys

import msgspec

from castwork.app import App
from castwork.cli.failure import STUCK, one_line_errors
from castwork.cli.lifeline import watch_lifeline
from castwork.cli.loading import load_app
from castwork.cli.logs import configure_logging
from castwork.cli.loops import run_loop
from castwork.cli.session import refuse_private
from castwork.cli.signals import on_stop_signals
from castwork.model.settings import WorkerSettings
from castwork.tasks.options import WorkerOptions

logger = logging.getLogger(__name__)

#: Garbage is looked for less often than Python's 700 new objects: tasks make little of it.
_COLLECT = (5_000, 20, 50)


class WorkerPlan(msgspec.Struct):
    """What a worker is to do.

    Attributes:
        module: where the App is.
        redis: server to use instead of the App's own.
        queues: names of the queues to serve; None for all.
        options: see `WorkerSettings`.
        lifeline: descriptor whose end means that the supervisor is gone.
    """

    module: str
    redis: str | None
    queues: list[str] | None
    options: WorkerOptions
    lifeline: int | None


def main() -> None:
    """Run the worker that the only argument, JSON, describes."""
    plan = msgspec.json.decode(sys.argv[1], type=WorkerPlan)
    with one_line_errors():
        configure_logging()
        watch_lifeline(plan.lifeline, grace=plan.options.get("grace", WorkerSettings().grace))
        app = load_app(plan.module, plan.redis)
        refuse_private(app)
        run_loop(_run(app, plan))


async def _run(app: App, plan: WorkerPlan) -> None:
    made = app.worker(plan.queues, on_stuck=_leave_stuck, **plan.options)
    stopped = asyncio.Event()

    def stop() -> None:
        logger.info("stopping")
        stopped.set()
        made.stop()

    on_stop_signals(stop, lambda: os._exit(1))
    try:
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


def _leave_stuck(culprit: str) -> None:
    """End a process whose event loop is blocked for good: its tasks come back elsewhere."""
    logger.critical("the event loop is blocked for good, the process ends; by %s", culprit)
    logging.shutdown()
    os._exit(STUCK)


if __name__ == "__main__":
    main()
