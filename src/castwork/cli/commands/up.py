"""`castwork up`: server, gateway and workers, supervised by one command."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from castwork.app import App
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.loading import load_app
from castwork.cli.options import (
    Concurrency,
    Data,
    Grace,
    Host,
    Lease,
    LogFormat,
    LogLevel,
    Module,
    Port,
    Queues,
    Redis,
    Reload,
)
from castwork.cli.supervise.fleet import Fleet, FleetOptions
from castwork.cli.supervise.listening import listen_on
from castwork.cli.supervise.logs import LogOptions
from castwork.cli.supervise.sources import require_watching
from castwork.embedded import SharedServer
from castwork.model.worker_options import WorkerSettings


def up(  # noqa: PLR0913, PLR0917 - options are arguments
    module: Module,
    redis: Redis = None,
    data: Data = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Worker processes.")] = 2,
    concurrency: Concurrency = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    queues: Queues = None,
    lease: Lease = None,
    grace: Grace = None,
    log_level: LogLevel = None,
    log_format: LogFormat = "text",
    reload: Reload = False,
) -> None:
    """Run everything: the embedded server, the gateway and workers. Ctrl-C drains and ends all."""
    started_at = time.monotonic()
    if reload:
        require_watching()
    app = load_app(module, redis)
    options = {"queues": queues, "concurrency": concurrency, "lease": lease, "grace": grace}
    fleet_options = FleetOptions(
        module,
        workers,
        grace=WorkerSettings().grace if grace is None else grace,
        lease=WorkerSettings().lease if lease is None else lease,
        worker_options=[
            part
            for name, value in options.items()
            if value is not None
            for part in (f"--{name}", str(value))
        ],
        logs=LogOptions(log_level or "", log_format),
        reload=reload,
    )
    with ExitStack() as stack:
        listener = stack.enter_context(listen_on(host, port))
        server = _embedded_server(app, data)
        if server is not None:
            app.server_url.override = stack.enter_context(server).url
        elif redis and not app.server_url.variable:
            raise Failure(
                "--redis does not reach the processes of an App(env=None): give the App the URL",
                code=MISUSED,
            )
        times = {"server": time.monotonic() - started_at}
        fleet = Fleet(fleet_options, app, listener, server, started_at, times)
        code = asyncio.run(fleet.run())
        if code == 0:
            stack.callback(typer.echo, "castwork: everything has ended")
    raise typer.Exit(code)


def _embedded_server(app: App, data: Path | None) -> SharedServer | None:
    """The embedded server, not started yet; None when the App has a server elsewhere."""
    if not app.server_url.is_embedded:
        if data is not None:
            raise Failure(
                f"--data is for the embedded server, but the server is {_shown(app.url)}",
                code=MISUSED,
            )
        return None
    return SharedServer.of_url(app.url, data)


def _shown(url: str) -> str:
    """A URL without its login."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
