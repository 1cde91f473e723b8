"""BullMQ's Python port: lists, hashes and Lua shared with the Node original."""

import asyncio
import sys

import bodies
from bullmq import Job, Queue, Worker

SETTINGS = (
    "Worker(concurrency=C), all else default; the return value is polled every 1 ms: it has no "
    "call that waits for it"
)
IMPORT = "from bullmq import Queue, Worker"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")

queue = Queue("bench", {"connection": bodies.URL})


async def setup() -> None:
    """Connects with the first call."""


async def enqueue_one(kind: str, payload: str) -> str:
    return (await queue.add(kind, payload)).id


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[str]:
    return [
        job.id
        for job in await queue.addBulk([{"name": kind, "data": payload} for payload in payloads])
    ]


async def result(task_id: str, seconds: float) -> int:
    async with asyncio.timeout(seconds):
        while (job := await Job.fromId(queue, task_id)).returnvalue is None:
            await asyncio.sleep(0.001)
    return int(job.returnvalue)


async def process(job: Job, token: str) -> int:
    return await getattr(bodies, job.name)(job.data)


async def work() -> None:
    Worker("bench", process, {"connection": bodies.URL, "concurrency": bodies.CONCURRENCY})
    await asyncio.Event().wait()


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [sys.executable, "adapter.py"]


if __name__ == "__main__":
    bodies.run(work())
