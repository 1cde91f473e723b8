"""SAQ: lists with BLMOVE."""

import contextlib
import time

import bodies
from saq import Job, Queue

SETTINGS = (
    "saq --workers P; concurrency=C, all else default; job timeout 600 s (default 10); "
    "results kept 600 s (default), awaited in slices of 50 ms, since a wait can miss one"
)
IMPORT = "from saq import Queue, Worker"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")
OWN_PROCESSES = True

queue = Queue.from_url(bodies.URL)


def _task(kind: str):
    body = getattr(bodies, kind)

    async def run(ctx: dict, *, payload: str) -> int:
        return await body(payload)

    return (kind, run)


settings = {
    "queue": queue,
    "functions": [_task(kind) for kind in KINDS],
    "concurrency": bodies.CONCURRENCY,
}


async def setup() -> None:
    await queue.connect()


async def enqueue_one(kind: str, payload: str) -> Job:
    return await queue.enqueue(kind, payload=payload, timeout=600)


async def result(job: Job, seconds: float) -> int:
    """Waits in slices: the wait looks first and listens then, so that it can miss the end."""
    until = time.monotonic() + seconds
    while not job.completed and time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            await job.refresh(until_complete=0.05)
    return job.result


def worker_command(concurrency: int, processes: int) -> list[str]:
    return ["saq", "adapter.settings", "--quiet", "--workers", str(processes)]
