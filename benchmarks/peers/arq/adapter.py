"""arq: a sorted set that is polled."""

import bodies
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job
from arq.worker import func

POLL = 0.5 if bodies.VARIANT == "default" else 0.01
SETTINGS = (
    f"max_jobs=C, poll_delay={POLL} for worker and results (default 0.5), job_timeout=3600; "
    "results kept (default)"
)
IMPORT = "from arq import create_pool"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")

pools: list[ArqRedis] = []
settings = RedisSettings.from_dsn(bodies.URL)


def _task(kind: str):
    body = getattr(bodies, kind)

    async def run(ctx: dict, payload: str) -> int:
        return await body(payload)

    return func(run, name=kind)


class WorkerSettings:
    """What `arq` reads."""

    functions = [_task(kind) for kind in KINDS]
    redis_settings = settings
    max_jobs = bodies.CONCURRENCY
    poll_delay = POLL
    job_timeout = 3600


async def setup() -> None:
    pools.append(await create_pool(settings))


async def enqueue_one(kind: str, payload: str) -> Job:
    return await pools[0].enqueue_job(kind, payload)


async def result(job: Job, seconds: float) -> int:
    return await job.result(timeout=seconds, poll_delay=POLL)


def worker_command(concurrency: int, processes: int) -> list[str]:
    return ["arq", "adapter.WorkerSettings"]
