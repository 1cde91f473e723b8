"""The process of a worker: `castwork worker` once its arguments are read."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys

import msgspec

from castwork.app import App
from castwork.cli.failure import MISUSED, STUCK, TOLD_MISUSED, one_line_errors
from castwork.cli.loading import load_app
from castwork.cli.supervise.bounds import Bounds, stop_at
from castwork.cli.supervise.health import Health, tell_health
from castwork.cli.supervise.leaving import leave_within
from castwork.cli.supervise.lifeline import watch_lifeline
from castwork.cli.supervise.logs import LogOptions, configure_logging, unmute_own_loggers
from castwork.cli.supervise.loops import run_loop
from castwork.cli.supervise.signals import on_stop_signals
from castwork.model.worker_options import WorkerOptions, WorkerSettings

#: By its full name, as the module is run as a program, with `__main__` as its `__name__`.
logger = logging.getLogger("castwork.cli.supervise.worker_process")

#: Garbage is looked for less often than Python's 700 new objects: tasks make little garbage.
_COLLECT = (5_000, 20, 50)

#: Seconds that threads get to end once the worker has stopped.
_PATIENCE = 3.0


class WorkerArguments(msgspec.Struct):
    """What `castwork worker` was asked for.

    Attributes:
        module: where the App is.
        redis: server to use instead of the App's own.
        queues: names of the queues to serve; None for all.
        options: see `WorkerSettings`.
        lifeline: descriptor whose end means that the supervisor is gone.
        mark: what the supervisor calls this start of the worker.
        bounds: when the worker stops by itself.
        health: where the worker tells whether it is well.
        logs: what it logs, and how.
    """

    module: str
    redis: str | None
    queues: list[str] | None
    options: WorkerOptions
    lifeline: int | None
    mark: str = ""
    bounds: Bounds = Bounds()
    health: Health = Health()
    logs: LogOptions = LogOptions()


def main() -> None:
    """Run the worker that the only argument, JSON, describes."""
    arguments = msgspec.json.decode(sys.argv[1], type=WorkerArguments)
    with one_line_errors(MISUSED if arguments.lifeline is None else TOLD_MISUSED):
        grace = WorkerSettings.of(arguments.options).grace
        watch_lifeline(arguments.lifeline, grace=grace)
        app = load_app(arguments.module, arguments.redis)
        configure_logging(arguments.logs)
        run_loop(_run(app, arguments))


async def _run(app: App, arguments: WorkerArguments) -> None:
    made = app.worker(arguments.queues, on_stuck=_leave_stuck, **arguments.options)
    made.mark = arguments.mark
    stopped = asyncio.Event()
    side: list[asyncio.Task[None]] = []

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
        side += [
            asyncio.create_task(one)
            for one in (
                stop_at(arguments.bounds, app, made),
                tell_health(arguments.health, made),
            )
        ]
        started = asyncio.create_task(made.started.wait())
        await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        # Objects that live by now live on: the collector need not look at them again and again.
        unmute_own_loggers()  # a start hook may have set up logging
        gc.freeze()
        gc.set_threshold(*_COLLECT)
        for one in side:
            one.add_done_callback(_log_failure)
        await running
    finally:
        for one in side:
            one.cancel()
        await app.close()
        # What was not started has claimed nothing, and nobody waits for its hooks.
        leave_within(_PATIENCE if made.started.is_set() else 0.5)


def _log_failure(done: asyncio.Task[None]) -> None:
    if not done.cancelled() and done.exception() is not None:
        logger.error("beside the worker: %s", done.exception())


def _leave_stuck(reason: str) -> None:
    """End a process that gets nothing done any more: its tasks come back elsewhere."""
    logger.critical("the process ends to be replaced: %s", reason)
    logging.shutdown()
    os._exit(STUCK)


if __name__ == "__main__":
    main()
