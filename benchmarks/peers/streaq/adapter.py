"""streaQ: Redis Streams, coredis, anyio."""

import contextlib

import bodies
from streaq import Worker
from streaq.task import Task

SETTINGS = (
    "streaq run --workers P; Worker(concurrency=C), prefetch default (C); uvloop where it is "
    "installed (default)"
)
IMPORT = "from streaq import Worker"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")
OWN_PROCESSES = True
HELD_PER_SLOT = 2  # it prefetches as many tasks as it runs

worker = Worker(redis_url=bodies.URL, queue_name="bench", concurrency=bodies.CONCURRENCY)
tasks = {kind: worker.task(name=kind)(getattr(bodies, kind)) for kind in KINDS}
_open = contextlib.AsyncExitStack()


async def setup() -> None:
    await _open.enter_async_context(worker)


async def enqueue_one(kind: str, payload: str) -> Task:
    return await tasks[kind].enqueue(payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[Task]:
    many = [tasks[kind].enqueue(payload) for payload in payloads]
    await worker.enqueue_many(many)
    return many


async def result(task: Task, seconds: float) -> int:
    return (await task.result(int(seconds))).result


def worker_command(concurrency: int, processes: int) -> list[str]:
    return ["streaq", "run", "adapter:worker", "--workers", str(processes)]
