"""A floor, not a library: a bare loop over `asyncio.Protocol` and hiredis that keeps no promise."""

import itertools
import json
import os
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


def _add(kind: str, payload: str):
    task_id = f"{os.getpid():x}-{next(_ids):x}"
    call = json.dumps({"id": task_id, "kind": kind, "payload": payload}).encode()
    return task_id, link.call(b"XADD", b"q", b"*", b"d", call)


async def enqueue_one(kind: str, payload: str) -> str:
    task_id, added = _add(kind, payload)
    await added
    return task_id


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[str]:
    added = [_add(kind, payload) for payload in payloads]
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
