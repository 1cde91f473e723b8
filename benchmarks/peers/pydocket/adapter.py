"""Docket (pydocket): Redis Streams with a known key and a state per task."""

import contextlib
import sys
from datetime import timedelta

import bodies
from docket import Docket, Execution, Worker

SETTINGS = (
    "Worker(concurrency=C, minimum_check_interval=5 ms (default 250 ms)), all else default; "
    "max_connections=2000, since redis-py 8.1 caps pools at 100"
)
IMPORT = "from docket import Docket, Worker"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")

url = f"{bodies.URL}?max_connections=2000"
docket = Docket("bench", url)
tasks = [getattr(bodies, kind) for kind in KINDS]
_open = contextlib.AsyncExitStack()


async def setup() -> None:
    await _open.enter_async_context(docket)
    for task in tasks:
        docket.register(task)


async def enqueue_one(kind: str, payload: str) -> Execution:
    return await docket.add(getattr(bodies, kind))(payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[Execution]:
    call = getattr(bodies, kind)
    return await docket.add_many(docket.call(call)(payload) for payload in payloads)


async def result(execution: Execution, seconds: float) -> int:
    return await execution.get_result(timeout=timedelta(seconds=seconds))


async def work() -> None:
    async with docket:
        for task in tasks:
            docket.register(task)
        check = timedelta(milliseconds=5)
        async with Worker(
            docket, concurrency=bodies.CONCURRENCY, minimum_check_interval=check
        ) as worker:
            await worker.run_forever()


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [sys.executable, "adapter.py"]


if __name__ == "__main__":
    bodies.run(work())
