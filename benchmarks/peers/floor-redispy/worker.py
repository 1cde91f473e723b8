"""The floor's worker: reads a batch, runs each entry in its own asyncio task, acknowledges what is
done together.
"""

import asyncio
import contextlib
import json
import os
import sys

import bodies
from redis.asyncio import Redis
from redis.exceptions import ResponseError


class Worker:
    """One reading connection; a second one sends all acknowledgements that are due, one pipeline at
    a time.
    """

    def __init__(self, concurrency: int) -> None:
        self._free = concurrency
        self._done: list[tuple[bytes, str, int]] = []
        self._wake, self._ready = asyncio.Event(), asyncio.Event()
        self._redis = Redis.from_url(bodies.URL)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        with contextlib.suppress(ResponseError):  # the group is there already
            await self._redis.xgroup_create("q", "g", "0", mkstream=True)
        await asyncio.gather(self._fetch(), self._finish())

    async def _fetch(self) -> None:
        name = str(os.getpid())
        while True:
            while not self._free:
                self._wake.clear()
                await self._wake.wait()
            reply = await self._redis.xreadgroup(
                "g", name, {"q": ">"}, count=self._free, block=2000
            )
            for entry, fields in reply[0][1] if reply else ():
                self._free -= 1
                task = asyncio.create_task(self._one(entry, json.loads(fields[b"d"])))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _one(self, entry: bytes, call: dict) -> None:
        value = await getattr(bodies, call["kind"])(call["payload"])
        self._done.append((entry, call["id"], value))
        self._ready.set()

    async def _finish(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            done, self._done = self._done, []
            entries = [entry for entry, _, _ in done]
            pipe = self._redis.pipeline(transaction=False)
            pipe.xack("q", "g", *entries)
            pipe.xdel("q", *entries)
            for _, task_id, value in done:
                pipe.rpush(f"result:{task_id}", json.dumps(value))
            self._free += len(done)
            self._wake.set()
            await pipe.execute()


bodies.run(Worker(int(sys.argv[1])).run())
