"""A floor, not a library: a bare loop over redis-py's asyncio client that keeps no promise."""

import contextlib
import itertools
import json
import os
import sys

import bodies
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

SETTINGS = (
    "uvloop, redis-py with hiredis; acknowledgements and results in one pipeline per batch; no "
    "retry, lease or fence"
)
IMPORT = "import json, redis.asyncio"
KINDS = ("noop", "sleep50", "burn1ms", "hold")

redis = Redis.from_pool(BlockingConnectionPool.from_url(bodies.URL, max_connections=200))
_ids = itertools.count()


async def setup() -> None:
    with contextlib.suppress(ResponseError):  # another process has made it
        await redis.xgroup_create("q", "g", "0", mkstream=True)


def _call(kind: str, payload: str) -> tuple[str, dict[str, str]]:
    task_id = f"{os.getpid():x}-{next(_ids):x}"
    return task_id, {"d": json.dumps({"id": task_id, "kind": kind, "payload": payload})}


async def enqueue_one(kind: str, payload: str) -> str:
    task_id, fields = _call(kind, payload)
    await redis.xadd("q", fields)
    return task_id


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[str]:
    pipe, ids = redis.pipeline(transaction=False), []
    for payload in payloads:
        task_id, fields = _call(kind, payload)
        pipe.xadd("q", fields)
        ids.append(task_id)
    await pipe.execute()
    return ids


async def result(task_id: str, seconds: float) -> int:
    return json.loads((await redis.blpop([f"result:{task_id}"], seconds))[1])


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [sys.executable, "worker.py", str(concurrency)]
