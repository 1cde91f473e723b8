"""Celery on Redis: the prefork pool, or the thread pool for tasks that wait."""

import os

import bodies
from celery import Celery
from celery.result import AsyncResult

THREADS = bodies.VARIANT == "threads"
SETTINGS = (
    f"pool {'threads -c C' if THREADS else 'prefork -c P'}, --prefetch-multiplier 64, "
    "--without-gossip --without-mingle, "
    "task_acks_late off (default: acknowledged before it runs), results kept (result_backend)"
)
IMPORT = "from celery import Celery"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms") if THREADS else ("noop", "burn1ms")
OWN_PROCESSES = not THREADS

app = Celery("bench", broker=bodies.URL, backend=bodies.URL)
app.conf.broker_connection_retry_on_startup = True
tasks = {kind: app.task(name=kind)(getattr(bodies, f"{kind}_sync")) for kind in KINDS}


async def setup() -> None:
    """Connects with the first call. The client blocks, so concurrent coroutines take turns."""


async def enqueue_one(kind: str, payload: str) -> AsyncResult:
    return tasks[kind].delay(payload)


async def result(handle: AsyncResult, seconds: float) -> int:
    return handle.get(timeout=seconds)


def worker_command(concurrency: int, processes: int) -> list[str]:
    pool = (
        ["-P", "threads", "-c", str(concurrency)]
        if THREADS
        else ["-P", "prefork", "-c", str(processes)]
    )
    quiet = [
        "--without-gossip",
        "--without-mingle",
        "-l",
        "WARNING",
        "-n",
        f"bench{os.getpid()}@%h",
    ]
    return ["celery", "-A", "adapter", "worker", *pool, "--prefetch-multiplier", "64", *quiet]
