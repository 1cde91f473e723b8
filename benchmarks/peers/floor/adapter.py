"""Floors, not libraries: bare loops around one stream that keep no promise. A task's kind is its
entry's field, its payload the value, its id the entry's.
"""

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlparse

import bodies
from link import Link, connect

READ = "500"
SETTINGS = {
    "c": f"C, POSIX sockets: a read of {READ}, pipelined XACK, XDEL and SET PX",
    "c-fenced": f"C, POSIX sockets: a read of {READ}, pipelined XACK, XDEL and SET PX, an XPENDING "
    "and a PUBLISH per task",
    "python": f"blocking sockets, hiredis: a read of {READ}, pipelined XACK, XDEL and SET PX",
    "asyncio": "asyncio, uvloop, hiredis: a task each; acknowledgements and results coalesced per "
    "loop tick",
}[bodies.VARIANT] + "; no envelope, retry or lease"
IMPORT = "import asyncio, hiredis"
ASYNC = bodies.VARIANT == "asyncio"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold", "stream") if ASYNC else ("noop",)
WAITS = ASYNC  # the others' results are looked for, to see that they are there

link: Link
waiter: Link


async def setup() -> None:
    global link, waiter
    link, waiter = await connect(bodies.URL), await connect(bodies.URL)
    await link.call(b"XGROUP", b"CREATE", b"q", b"g", b"0", b"MKSTREAM")


async def enqueue_one(kind: str, payload: str) -> bytes:
    return await link.call(b"XADD", b"q", b"*", kind, payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[bytes]:
    added = [link.call(b"XADD", b"q", b"*", kind, payload) for payload in payloads]
    await added[-1]
    return [one.result() for one in added]


async def result(entry: bytes, seconds: float) -> int:
    if ASYNC:
        return int((await waiter.call(b"BLPOP", b"r:" + entry, seconds))[1])
    async with asyncio.timeout(seconds):
        while (found := await waiter.call(b"GET", b"r:" + entry)) is None:
            await asyncio.sleep(0.001)
    return int(found)


def worker_command(concurrency: int, processes: int) -> list[str]:
    if ASYNC:
        return [sys.executable, "asyncio_worker.py", str(concurrency)]
    if bodies.VARIANT == "python":
        return [sys.executable, "python_worker.py", READ]
    url, fenced = urlparse(bodies.URL), ["fenced"] * (bodies.VARIANT == "c-fenced")
    drain = Path(sys.executable).with_name("drain")
    return [str(drain), str(url.hostname), str(url.port), READ, *fenced]


def events_path(entry: bytes) -> str:
    return f"/{entry.decode()}"


def gateway_command(port: str) -> list[str]:
    return [sys.executable, "gateway.py", port]
