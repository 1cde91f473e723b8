"""What a producer does when the harness asks it to: enqueue, wait for results, stream."""

import asyncio
import contextlib
import random
import time
from typing import Any

import adapter  # type: ignore[import-not-found]
from bodies import payload_of  # type: ignore[import-not-found]

SAMPLE = 50  # results fetched afterwards to see that they are stored
Request = dict[str, Any]


def has_bulk() -> bool:
    return hasattr(adapter, "enqueue_bulk")


class Producer:
    """Answers the harness's requests with the adapter's calls; `handles` is a sample of what was
    enqueued.
    """

    def __init__(self) -> None:
        self.handles: list[tuple[int, Any]] = []
        self.next = 0

    def _keep(self, number: int, handle: Any) -> None:
        """Reservoir sampling: every task is equally likely to be looked at."""
        if len(self.handles) < SAMPLE:
            self.handles.append((number, handle))
        elif (slot := random.randrange(number + 1)) < SAMPLE:
            self.handles[slot] = (number, handle)

    def _numbers(self, count: int) -> range:
        first, self.next = self.next, self.next + count
        return range(first, self.next)

    async def one(self, kind: str, count: int) -> None:
        for number in self._numbers(count):
            self._keep(number, await adapter.enqueue_one(kind, payload_of(number)))

    async def concurrent(self, kind: str, count: int, coroutines: int = 200) -> None:
        numbers = iter(self._numbers(count))

        async def feed() -> None:
            for number in numbers:
                self._keep(number, await adapter.enqueue_one(kind, payload_of(number)))

        await asyncio.gather(*(feed() for _ in range(coroutines)))

    async def bulk(self, kind: str, count: int, size: int = 1000) -> None:
        numbers = self._numbers(count)
        for start in range(0, count, size):
            part = numbers[start : start + size]
            payloads = [payload_of(number) for number in part]
            handles = await adapter.enqueue_bulk(kind, payloads)
            for number, handle in zip(part, handles, strict=True):
                self._keep(number, handle)

    async def enqueue(self, request: Request) -> dict[str, Any]:
        """Enqueues `count` tasks the given way: one, concurrent, bulk, or fill (the fastest the
        peer has).
        """
        mode, options = request["mode"], {}
        if mode == "fill":
            mode = "bulk" if has_bulk() else "concurrent"
        if mode == "bulk":
            options["size"] = min(request.get("size", 1000), request["count"])
        cpu, start = time.process_time(), time.monotonic()
        await getattr(self, mode)(request["kind"], request["count"], **options)
        return {"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu, "mode": mode}

    async def latency(self, request: Request) -> dict[str, Any]:
        """One task at a time from enqueue to its result, with a pause that lets the worker go idle
        again.
        """
        samples, deadline = [], time.monotonic() + request["seconds"]
        for number in self._numbers(request["count"]):
            start = time.perf_counter()
            handle = await adapter.enqueue_one("noop", payload_of(number))
            value = await adapter.result(handle, 30)
            samples.append(time.perf_counter() - start)
            if value != number:
                raise RuntimeError(f"result of task {number} is {value!r}")
            await asyncio.sleep(request["pause"])
            if time.monotonic() > deadline:
                break
        return {"samples": samples}

    async def awaited(self, request: Request) -> dict[str, Any]:
        """Has `callers` coroutines enqueue a task and wait for its result, again and again, for at
        most `seconds`.
        """
        numbers, samples = iter(self._numbers(request["count"])), []
        deadline = time.monotonic() + request["seconds"]

        async def call() -> None:
            for number in numbers:
                if time.monotonic() > deadline:
                    return
                start = time.perf_counter()
                handle = await adapter.enqueue_one(request["kind"], payload_of(number))
                value = await adapter.result(handle, 60)
                samples.append(time.perf_counter() - start)
                if value != number:
                    raise RuntimeError(f"result of task {number} is {value!r}")

        await asyncio.gather(*(call() for _ in range(request["callers"])))
        return {"samples": samples}

    async def load(self, request: Request) -> dict[str, Any]:
        """Offers `rate` tasks a second for `seconds`, in 10 ms steps, each step's tasks
        concurrently.
        """
        start, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - start) < request["seconds"]:
            due = int(elapsed * request["rate"]) - sent
            payloads = map(payload_of, self._numbers(due))
            await asyncio.gather(*(adapter.enqueue_one("noop", payload) for payload in payloads))
            sent += due
            await asyncio.sleep(0.01)
        return {"sent": sent, "rate": sent / (time.monotonic() - start)}

    async def streams(self, request: Request) -> dict[str, Any]:
        """Enqueues tasks that stream `chunks` chunks, and answers the paths of their events."""
        kind, each = "stream", request["chunks"]
        handles = await asyncio.gather(
            *(adapter.enqueue_one(kind, each) for _ in range(request["count"]))
        )
        return {"paths": [adapter.events_path(handle) for handle in handles]}

    async def check(self, request: Request) -> dict[str, Any]:
        """Fetches the results of a sample of the tasks that were enqueued."""
        if not hasattr(adapter, "result"):
            return {"checked": 0, "right": 0}
        right = sum([await self._is_right(*kept) for kept in self.handles])
        return {"checked": len(self.handles), "right": right}

    async def _is_right(self, number: int, handle: Any) -> bool:
        """Asks twice: some clients miss a result that comes between their look and their wait."""
        for _ in range(2):
            with contextlib.suppress(Exception):
                return bool(await adapter.result(handle, 5) == number)
        return False
