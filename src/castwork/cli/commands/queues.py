"""`castwork queues`: what waits and runs in each queue."""

from __future__ import annotations

from castwork.app import App
from castwork.cli.options import AppOption, Json, ModuleToo, Redis
from castwork.cli.output import print_json
from castwork.cli.overview import print_queues
from castwork.cli.session import on_server


def queues(
    module: ModuleToo = None, app: AppOption = None, redis: Redis = None, json: Json = False
) -> None:
    """Show what waits and runs in each queue."""
    found = on_server(module or app, redis, App.queues)
    if json:
        print_json(found)
    else:
        print_queues(found)
