"""`castwork gateway`: serves HTTP until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from castwork.app import App
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.loading import find_own_api, load_app, load_module
from castwork.cli.options import Host, Lifeline, LogFormat, LogLevel, Module, Port, Redis
from castwork.cli.supervise.leaving import leave_within
from castwork.cli.supervise.lifeline import watch_lifeline
from castwork.cli.supervise.listening import listen_on, url_of
from castwork.cli.supervise.logs import LogOptions, configure_logging
from castwork.cli.supervise.loops import run_loop
from castwork.cli.supervise.signals import on_stop_signals

logger = logging.getLogger(__name__)

#: Seconds that open requests get on a stop. A stream of events would never end by itself; its
#: reader connects again and goes on where it was.
GRACE = 3


def gateway(
    module: Module,
    redis: Redis = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    log_level: LogLevel = None,
    log_format: LogFormat = "text",
    lifeline: Lifeline = None,
    listener: Annotated[int | None, typer.Option("--listener", hidden=True)] = None,
) -> None:
    """Serve HTTP: the module's own `api`, or castwork's gateway.

    The module's `api` is served if it is an ASGI app.
    """
    watch_lifeline(lifeline, grace=GRACE)
    app = load_app(module, redis)
    api = find_api(app, module)
    configure_logging(LogOptions(log_level or "", log_format))
    opened = listen_on(host, port) if listener is None else socket.socket(fileno=listener)
    opened.set_inheritable(False)
    run_loop(_serve(app, api, opened))


def find_api(app: App, module: str) -> Any:
    """The ASGI app to serve.

    Raises:
        Failure: what a gateway needs is not installed.
    """
    try:
        import uvicorn  # noqa: F401 - imported here, so that the lack of uvicorn is one line

        api = find_own_api(load_module(module))
        if api is not None:
            return api
        from castwork.gateway import create_gateway
    except ModuleNotFoundError as error:
        raise Failure(
            f"the gateway needs {error.name!r}: run `pip install 'castwork[gateway]'`",
            code=MISUSED,
        ) from None
    return create_gateway(app)


def _is_news(record: logging.LogRecord) -> bool:
    """False for the traceback of a stream that was cut off because this process stops."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)


async def _serve(app: App, api: Any, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """A server that leaves the signals, and with them the exit code, to this module."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    # When Redis is away, an error here is one line; in uvicorn's startup it would be a traceback.
    await app.connections.open()
    config = uvicorn.Config(
        api,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(config)
    streams = getattr(getattr(api, "state", None), "streams", None)
    logging.getLogger("uvicorn.error").addFilter(_is_news)

    def stop() -> None:
        logger.info("stopping")
        if streams is not None:
            streams.close()  # open streams would hold the server up until its patience ends
        server.should_exit = True

    on_stop_signals(stop, lambda: os._exit(1))
    logger.info("the gateway serves %s", url_of(listener))
    try:
        await server.serve(sockets=[listener])
    finally:
        await asyncio.shield(app.close())
        leave_within(GRACE)
