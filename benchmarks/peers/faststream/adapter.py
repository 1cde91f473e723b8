"""FastStream on Redis Streams: a messaging framework, so no task states and no stored results."""

import os
import sys

import bodies
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

SETTINGS = (
    "StreamSub with group, max_workers=C, max_records=100; no results: it has none; "
    "max_connections=2000, since redis-py 8.1 caps pools at 100"
)
IMPORT = "from faststream.redis import RedisBroker"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")

broker = RedisBroker(f"{bodies.URL}?max_connections=2000", logger=None)


def subscribe(concurrency: int) -> None:
    for kind in KINDS:
        stream = StreamSub(kind, group="g", consumer=str(os.getpid()), last_id=">", max_records=100)
        broker.subscriber(stream=stream, max_workers=concurrency)(getattr(bodies, kind))


async def setup() -> None:
    await broker.start()
    for kind in KINDS:
        await broker._connection.xgroup_create(kind, "g", "0", mkstream=True)


async def enqueue_one(kind: str, payload: str) -> None:
    await broker.publish(payload, stream=kind)


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [sys.executable, "adapter.py"]


if __name__ == "__main__":
    subscribe(bodies.CONCURRENCY)
    bodies.run(FastStream(broker, logger=None).run())
