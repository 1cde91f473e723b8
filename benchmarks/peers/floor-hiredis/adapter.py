"""A floor, not a library: a bare loop over `asyncio.Protocol` and hiredis that keeps no promise."""

import itertools
import json
import sys

from bodies import URL
from link import Link, connect

SETTINGS = (
    "uvloop; acknowledgements and results coalesced per loop tick; no envelope, retry, lease or"
    " fence"
)
IMPORT = "import asyncio, json, hiredis"
KINDS = ("noop", "sleep50", "burn1ms", "hold", "stream")

link: Link
_ids = itertools.count()


async def setup() -> None:
    global link, waiter
    link, waiter = await connect(URL), await connect(URL)
    await link.call(b"XGROUP", b"CREATE", b"q", b"g", b"0", b"MKSTREAM")


def _add(kind: str, number: int):
    task_id = f"{number}-{next(_ids)}"
    call = json.dumps({"id": task_id, "kind": kind, "number": number}).encode()
    return task_id, link.call(b"XADD", b"q", b"*", b"d", call)


async def enqueue_one(kind: str, number: int) -> str:
    task_id, added = _add(kind, number)
    await added
    return task_id


async def enqueue_bulk(kind: str, numbers: list[int]) -> list[str]:
    added = [_add(kind, number) for number in numbers]
    await added[-1][1]
    return [task_id for task_id, _ in added]


async def result(task_id: str, seconds: float) -> int:
    return json.loads((await waiter.call(b"BLPOP", f"result:{task_id}", seconds))[1])


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [sys.executable, "worker.py", str(concurrency)]


def events_path(task_id: str) -> str:
    return f"/{task_id}"


def gateway_command(port: str) -> list[str]:
    return [sys.executable, "gateway.py", port]
