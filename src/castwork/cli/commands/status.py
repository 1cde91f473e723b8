"""`castwork status`: the server, what waits, what runs, who works."""

from __future__ import annotations

import typer

from castwork.cli.options import AppOption, Json, ModuleToo, Redis
from castwork.cli.output import print_json, print_table
from castwork.cli.overview import (
    WORKER_COLUMNS,
    print_queues,
    read_overview,
    worker_rows,
)
from castwork.cli.session import on_server


def status(
    module: ModuleToo = None, app: AppOption = None, redis: Redis = None, json: Json = False
) -> None:
    """Show the server, the queues and the workers."""
    found = on_server(module or app, redis, read_overview)
    if json:
        print_json(found)
        return
    typer.echo(str(found.server))
    print_queues(found.queues)
    print_table("workers", WORKER_COLUMNS, worker_rows(found.workers))
