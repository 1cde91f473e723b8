"""`castwork worker --reload`: one worker process, started anew when a file changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack

from castwork.app import App
from castwork.cli.loading import load_app, load_module
from castwork.cli.supervise.child import Child
from castwork.cli.supervise.logs import LogOptions
from castwork.cli.supervise.sources import folders_of, reload_on_change, require_watching
from castwork.cli.supervise.supervisor import PATIENCE, Supervisor
from castwork.cli.terminal import Terminal
from castwork.embedded import SharedServer


def run_reloading(
    module: str, redis: str | None, arguments: Sequence[str], *, grace: float, logs: LogOptions
) -> int:
    """Run a worker until told to stop; returns the exit code.

    The embedded server is this process's, so that what waits in it outlasts the worker.

    Args:
        module: `module:attribute` of the App.
        redis: URL of the server to use instead of the App's own.
        arguments: those of `castwork`, as they were given.
        grace: seconds that running tasks get on a stop, and on a change.
        logs: what is logged, and how.

    Raises:
        Failure: what watches files is not installed, or the App cannot be loaded.
    """
    require_watching()
    app = load_app(module, redis)
    with ExitStack() as stack:
        if app.server_url.is_embedded:
            server = stack.enter_context(SharedServer.of_url(app.url, None))
            app.server_url.override = server.url
        return asyncio.run(_run(app, module, arguments, grace, logs))


async def _run(
    app: App, module: str, arguments: Sequence[str], grace: float, logs: LogOptions
) -> int:
    terminal = Terminal(len("castwork") + 1, json=logs.format == "json")
    supervisor = Supervisor(grace=grace, say=terminal.say)
    supervisor.is_ready = True  # a program that is mended is started again
    told = {"PYTHONUNBUFFERED": "1"}
    if (variable := app.server_url.variable) and app.server_url.override:
        told[variable] = app.server_url.override
    supervisor.workers = [
        Child(
            "worker",
            lambda _: [*arguments, "--no-reload", "--lifeline", str(supervisor.lifeline)],
            environment=os.environ | told,
            descriptors=(supervisor.lifeline,),
            say=terminal.say,
            misused=supervisor.misused,
            gone=_nothing,
            reloads=True,
        )
    ]
    watching = reload_on_change(
        folders_of(load_module(module)),
        lambda: supervisor.children,
        terminal.say,
        patience=grace + PATIENCE,
    )
    return await supervisor.run(watching)


async def _nothing(_mark: str) -> None:
    """The tasks of a worker that was killed come back after their lease."""
