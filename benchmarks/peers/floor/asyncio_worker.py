"""The floor over asyncio: reads a batch, runs each entry in its own asyncio task, acknowledges in
groups.

It promises nothing: no lease, no retry, no fence, no record; what it does is the least that still
is a queue.
"""

import asyncio
import os
import sys

import bodies
from link import connect

STREAM, GROUP = b"q", b"g"


class Worker:
    """One reading connection, one for acknowledgements and results."""

    def __init__(self, concurrency: int) -> None:
        self._free = concurrency
        self._done: list[tuple[bytes, int]] = []
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        reader, self._writer = await connect(bodies.URL), await connect(bodies.URL)
        await self._writer.call(b"XGROUP", b"CREATE", STREAM, GROUP, b"0", b"MKSTREAM")
        name = str(os.getpid()).encode()
        while True:
            while not self._free:
                self._wake.clear()
                await self._wake.wait()
            reply = await reader.call(
                b"XREADGROUP",
                b"GROUP",
                GROUP,
                name,
                b"COUNT",
                self._free,
                b"BLOCK",
                2000,
                b"STREAMS",
                STREAM,
                b">",
            )
            for entry, fields in reply[0][1] if reply else ():
                self._free -= 1
                task = asyncio.create_task(self._one(entry, *fields))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _one(self, entry: bytes, kind: bytes, payload: bytes) -> None:
        if kind == b"stream":
            async for chunk in bodies.stream(value := int(payload)):
                self._writer.call(b"XADD", b"chunks", b"*", entry, chunk)
        else:
            value = await getattr(bodies, kind.decode())(payload.decode())
        if not self._done:
            asyncio.get_running_loop().call_soon(self._flush)
        self._done.append((entry, value))

    def _flush(self) -> None:
        """Coalesces the acknowledgements and results of a loop tick."""
        done, self._done = self._done, []
        entries = [entry for entry, _ in done]
        self._writer.call(b"XACK", STREAM, GROUP, *entries)
        self._writer.call(b"XDEL", STREAM, *entries)
        for entry, value in done:
            self._writer.call(b"RPUSH", b"r:" + entry, value)
        self._free += len(done)
        self._wake.set()


bodies.run(Worker(int(sys.argv[1])).run())
