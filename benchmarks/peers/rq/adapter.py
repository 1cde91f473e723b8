"""RQ: one job at a time, in a fork (its default) or in the worker itself (SimpleWorker)."""

import bodies
from redis import Redis
from rq import Queue
from rq.job import Job

FORK = bodies.VARIANT == "fork"
WORKER = "rq.Worker" if FORK else "rq.SimpleWorker"
SETTINGS = f"rq worker -w {WORKER}, one job at a time; results kept 500 s (default)"
IMPORT = "from rq import Queue"
KINDS = ("noop", "burn1ms")

queue = Queue("bench", connection=Redis.from_url(bodies.URL))


async def setup() -> None:
    """Connects with the first call. The client blocks, so concurrent coroutines take turns."""


async def enqueue_one(kind: str, payload: str) -> Job:
    return queue.enqueue(f"bodies.{kind}_sync", payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[Job]:
    return queue.enqueue_many(
        [Queue.prepare_data(f"bodies.{kind}_sync", (payload,)) for payload in payloads]
    )


async def result(job: Job, seconds: float) -> int:
    return job.latest_result(timeout=int(seconds)).return_value


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [
        "rq",
        "worker",
        "bench",
        "--url",
        bodies.URL,
        "-w",
        WORKER,
        "--quiet",
        "--disable-job-desc-logging",
    ]
