"""`castwork server`: the embedded server in the foreground."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from castwork.cli.failure import Failure
from castwork.cli.options import Data
from castwork.cli.supervise.listening import listen_on
from castwork.embedded import EmbeddedServer


def server(
    port: Annotated[int, typer.Option("--port", help="Port; 0 for any free one.")] = 6379,
    data: Data = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Let everyone on this machine in.")
    ] = False,
) -> None:
    """Run the embedded Valkey or Redis on a port of 127.0.0.1."""
    listen_on("127.0.0.1", port).close()  # a port in use is one line, and not the server's log
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedServer(port=port, data=data, has_password=not no_password) as embedded:
        kept = f"keeps its data in {data}" if data else "keeps nothing (--data DIR does)"
        typer.echo(f"server {embedded.url}  pid {embedded.pid}, {kept}; Ctrl-C stops it")
        while embedded.is_running:
            if stop.wait(0.5):
                return
    raise Failure("the server has ended by itself")
