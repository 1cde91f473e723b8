"""ArdiQ: a Rust core on Redis Streams."""

import bodies
from ardiq import Ardiq
from ardiq.tasks import Job

SETTINGS = (
    "ardiq run --quiet --workers P; concurrency as given, prefetch default (twice that), "
    "results kept (default)"
)
IMPORT = "from ardiq import Ardiq"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")
OWN_PROCESSES = True
HELD_PER_SLOT = 2  # it prefetches as many tasks as it runs

app = Ardiq(redis_url=bodies.URL, queue_name="bench", concurrency=bodies.CONCURRENCY)
tasks = {kind: app.task(getattr(bodies, kind)) for kind in KINDS}


async def setup() -> None:
    """The core connects with the first call."""


async def enqueue_one(kind: str, payload: str) -> Job:
    return await tasks[kind].enqueue(payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[Job]:
    task = tasks[kind]
    return await app.enqueue_many(task.prepare(payload) for payload in payloads)


async def result(job: Job, seconds: float) -> int:
    return (await job.result(seconds)).value


def worker_command(concurrency: int, processes: int) -> list[str]:
    return ["ardiq", "run", "adapter:app", "--quiet", "--workers", str(processes)]
