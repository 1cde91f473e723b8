"""`castwork status` and `queues`: what waits, what runs, who works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import typer

from castwork.app import App
from castwork.cli.options import AppOption, Json, ModuleToo, Redis
from castwork.cli.output import ago, print_json, print_table
from castwork.cli.session import on_server
from castwork.inspect.inspector import QueueInfo

QUEUE_COLUMNS = ("queue", "high", "normal", "low", "stream", "running", "scheduled", "dead")
WORKER_COLUMNS = ("worker", "host", "pid", "up", "load", "queues", "done", "last sign")


class ServerFacts(msgspec.Struct):
    """The server as far as it may be known; empty where its ACL hides it."""

    address: str
    product: str = ""
    version: str = ""


class Status(msgspec.Struct):
    """What `status` and each refresh of `top` show."""

    server: ServerFacts
    queues: list[QueueInfo]
    workers: list[dict[str, Any]]


def status(
    module: ModuleToo = None, app: AppOption = None, redis: Redis = None, json: Json = False
) -> None:
    """Show the server, the queues and the workers."""
    found = on_server(module or app, redis, read_status)
    if json:
        print_json(found)
        return
    typer.echo(describe_server(found.server))
    print_table("queues", QUEUE_COLUMNS, queue_rows(found.queues))
    print_table("workers", WORKER_COLUMNS, worker_rows(found.workers))


def queues(
    module: ModuleToo = None, app: AppOption = None, redis: Redis = None, json: Json = False
) -> None:
    """Show what waits and runs in each queue."""
    found = on_server(module or app, redis, App.queues)
    if json:
        print_json(found)
    else:
        print_table("queues", QUEUE_COLUMNS, queue_rows(found))


async def read_status(app: App) -> Status:
    """Read all of it at once."""
    queues, workers = await asyncio.gather(app.queues(), app.workers())
    return Status(server_facts(app), queues, workers)


def server_facts(app: App) -> ServerFacts:
    """What is known of the server, once connected."""
    facts = ServerFacts(str(app.connections.address))
    if (info := app.connections.server) is not None:
        facts.product, facts.version = info.product, info.version
    return facts


def describe_server(server: ServerFacts) -> str:
    """The server in one line."""
    return f"{server.product or 'server'} {server.version}".strip() + f" at {server.address}"


def queue_rows(queues: Sequence[QueueInfo]) -> list[list[object]]:
    """The cells of each queue; a lane that a queue does not have stays empty."""
    lanes = QUEUE_COLUMNS[1:5]
    return [
        [
            queue.name,
            *(queue.waiting.get(lane) for lane in lanes),
            queue.running,
            queue.scheduled,
            queue.dead,
        ]
        for queue in queues
    ]


def worker_rows(workers: Sequence[dict[str, Any]]) -> list[list[object]]:
    """The cells of each worker."""
    return [
        [
            worker["id"],
            worker["host"],
            worker["pid"],
            ago(worker["started_at"]),
            f"{worker['load']}/{worker['capacity']}",
            ", ".join(worker["queues"]),
            sum(worker["processed"].values()),
            "lost" if worker["lost"] else f"{worker['silent_for']:.0f} s",
        ]
        for worker in workers
    ]
