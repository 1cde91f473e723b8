"""Server, queues and workers at one moment, and as the cells of tables."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from castwork.app import App
from castwork.cli.output import ago, print_table
from castwork.store.look import QueueInfo

QUEUE_COLUMNS = ("queue", "high", "normal", "low", "stream", "held", "running", "scheduled", "dead")
FOREIGN_COLUMNS = ("queue", "consumer of another program", "pending", "idle")
WORKER_COLUMNS = ("worker", "host", "pid", "up", "load", "queues", "done", "last sign")


class ServerFacts(msgspec.Struct):
    """The server as far as its ACL lets us know; empty texts where the ACL hides it."""

    address: str
    product: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.product or 'server'} {self.version}".strip() + f" at {self.address}"


class Overview(msgspec.Struct):
    """What `status` and each refresh of `top` show."""

    server: ServerFacts
    queues: list[QueueInfo]
    workers: list[dict[str, Any]]


async def read_overview(app: App) -> Overview:
    """Read server, queues and workers at once.

    Raises:
        ConnectionFailed: no server in time.
    """
    queues, workers = await asyncio.gather(app.queues(), app.workers())
    return Overview(server_facts(app), queues, workers)


def server_facts(app: App) -> ServerFacts:
    """What is known of the server, once connected."""
    facts = ServerFacts(app.connections.address)
    if (info := app.connections.server) is not None:
        facts.product, facts.version = info.product, info.version
    return facts


def queue_rows(queues: Sequence[QueueInfo]) -> list[list[object]]:
    """The cells of each queue; a lane that a queue does not have stays empty."""
    lanes = QUEUE_COLUMNS[1:5]
    return [
        [
            _shown(queue),
            *(queue.waiting.get(lane) for lane in lanes),
            queue.held,
            queue.running,
            queue.scheduled,
            queue.dead,
        ]
        for queue in queues
    ]


def foreign_rows(queues: Sequence[QueueInfo]) -> list[list[object]]:
    """The cells of each consumer of another program, which shares an adopted stream's group."""
    return [
        [_shown(queue), consumer.name, consumer.pending, f"{consumer.idle:.0f} s"]
        for queue in queues
        for consumer in queue.foreign
    ]


def print_queues(queues: Sequence[QueueInfo]) -> None:
    """Print the queues, and who else reads adopted streams, if anybody does."""
    print_table("queues", QUEUE_COLUMNS, queue_rows(queues))
    if others := foreign_rows(queues):
        print_table("other programs", FOREIGN_COLUMNS, others)


def _shown(queue: QueueInfo) -> str:
    """A queue's name, with the group of an adopted stream, and whether it is paused."""
    name = f"{queue.name} ({queue.group})" if queue.group else queue.name
    return f"{name}, paused" if queue.paused else name


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
