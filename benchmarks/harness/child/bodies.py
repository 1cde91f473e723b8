"""The task bodies that every peer runs, and how they count their own runs.

A body counts on the worker's side, in memory that is mapped from a file of the run directory, so
that counting costs no round trip and the harness reads it without asking the server. Each process
has a file of its own. Needs the standard library only: it is imported into every peer's
environment.
"""

import asyncio
import contextlib
import importlib
import logging
import mmap
import os
import struct
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

URL = os.environ["BENCH_URL"]
VARIANT = os.environ.get("BENCH_VARIANT", "")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "100"))
KIND = os.environ.get(
    "BENCH_KIND", "noop"
)  # the body that the scenario runs, for peers that tune threads by it
RUN_DIR = Path(os.environ["BENCH_RUN_DIR"])
HOLD_SECONDS = float(os.environ.get("BENCH_HOLD_SECONDS", "600"))

LAYOUT = struct.Struct(
    "<QQddd"
)  # begun, executed, first start, first end, last end (CLOCK_MONOTONIC seconds)
SEEN_FILE = "seen"  # one byte per task number: how often it ran

logging.disable(logging.INFO)  # several peers log two lines per task by default


def payload_of(number: int) -> str:
    """The argument of task `number`: 200 characters, so that sizes and codecs count."""
    return f"{number:08d}{'x' * 192}"


def number_of(payload: str) -> int:
    return int(payload[:8])


class Tally:
    """Counts the runs of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._map: mmap.mmap | None = None
        self._lock = threading.Lock()

    def _open(self) -> mmap.mmap:
        with (RUN_DIR / SEEN_FILE).open("r+b") as seen:
            self._seen = mmap.mmap(seen.fileno(), 0)
        with (RUN_DIR / f"{os.getpid()}.tally").open("w+b") as file:
            file.truncate(LAYOUT.size)
            self._map = mmap.mmap(file.fileno(), LAYOUT.size)
        self._begun = self._executed = 0
        self._first, self._first_end, self._last = time.monotonic(), 0.0, 0.0
        return self._map

    def _write(self, target: mmap.mmap) -> None:
        LAYOUT.pack_into(
            target, 0, self._begun, self._executed, self._first, self._first_end, self._last
        )

    def begin(self) -> None:
        """Counts a start."""
        with self._lock:
            target = self._map or self._open()
            self._begun += 1
            self._write(target)

    def end(self, payload: str) -> int:
        """Counts the end of a task and returns its number, which is every body's result."""
        number = number_of(payload)
        with self._lock:
            target = self._map or self._open()
            self._executed += 1
            self._last = time.monotonic()
            self._first_end = self._first_end or self._last
            if number < len(self._seen):
                self._seen[number] += 1
            self._write(target)
        return number


_tally = Tally()


def _burn() -> None:
    """Uses 1 ms of this thread's CPU time, however many others want the same core."""
    until = time.thread_time() + 0.001
    while time.thread_time() < until:
        pass


def run(main: Coroutine[Any, Any, Any]) -> None:
    """Runs `main` on uvloop where the environment has it; BENCH_LOOP=asyncio forbids it."""
    factory = None
    if os.environ.get("BENCH_LOOP") != "asyncio":
        with contextlib.suppress(ImportError):
            factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def noop(payload: str) -> int:
    _tally.begin()
    return _tally.end(payload)


async def sleep30(payload: str) -> int:
    _tally.begin()
    await asyncio.sleep(0.03)
    return _tally.end(payload)


async def sleep50(payload: str) -> int:
    _tally.begin()
    await asyncio.sleep(0.05)
    return _tally.end(payload)


async def burn1ms(payload: str) -> int:
    _tally.begin()
    _burn()
    return _tally.end(payload)


async def hold(payload: str) -> int:
    """Occupies its slot until the worker goes away."""
    _tally.begin()
    await asyncio.sleep(HOLD_SECONDS)
    return number_of(payload)


async def stream(number: int) -> AsyncIterator[str]:
    """Yields `number` chunks, 50 a second, each with the time at which it was made."""
    _tally.begin()
    start = time.monotonic()
    for index in range(number):
        await asyncio.sleep(max(0.0, start + index * 0.02 - time.monotonic()))
        yield f"t={time.monotonic():.6f};"
    _tally.end(payload_of(number))


def noop_sync(payload: str) -> int:
    _tally.begin()
    return _tally.end(payload)


def sleep30_sync(payload: str) -> int:
    _tally.begin()
    time.sleep(0.03)
    return _tally.end(payload)


def sleep50_sync(payload: str) -> int:
    _tally.begin()
    time.sleep(0.05)
    return _tally.end(payload)


def burn1ms_sync(payload: str) -> int:
    _tally.begin()
    _burn()
    return _tally.end(payload)
