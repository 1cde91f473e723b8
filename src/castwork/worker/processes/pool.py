"""Pool: the child processes of one worker."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from castwork.model.errors import DefinitionError
from castwork.model.worker_options import WorkerSettings
from castwork.tasks.declared import place_of
from castwork.tasks.function import TaskFunction
from castwork.tasks.resource import is_child
from castwork.worker.processes.process import Process

logger = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """How many processes, and how long one is used.

    Attributes:
        size: processes with a call at once.
        max_tasks: calls after which a process is replaced; 0 for no bound.
        max_memory: megabytes after which a process is replaced; 0 for no bound.
    """

    size: int
    max_tasks: int
    max_memory: int


class Pool:
    """Lends child processes to attempts, each for one call at a time.

    A process is started when a call needs one, and replaced when it has died, or has had its share
    of calls or memory. A call that waits for another task leaves its place to others.

    Args:
        bounds: how many, and how long one is used.
        modules: modules that each imports before its first call.
    """

    def __init__(self, bounds: Bounds, modules: list[str]) -> None:
        self._bounds = bounds
        self._modules = modules
        self._idle: list[Process] = []
        self._used: set[Process] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._places = bounds.size
        self._waiting: deque[asyncio.Future[None]] = deque()

    @classmethod
    def of(cls, settings: WorkerSettings, functions: Iterable[TaskFunction[Any, Any]]) -> Pool:
        """The pool of a worker that serves some functions.

        Raises:
            DefinitionError: this process is a child of a worker itself.
        """
        if is_child():
            raise DefinitionError(
                "the program runs a worker while a child process of one imports it: put what it"
                ' does, but for declarations, under `if __name__ == "__main__":`'
            )
        modules = {place_of(one).module for one in functions if one.settings.run_in == "process"}
        size = settings.pool_size or os.cpu_count() or 1
        bounds = Bounds(size, settings.pool_max_tasks, settings.pool_max_memory)
        return cls(bounds, sorted(modules))

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Process]:
        """A process for one call, as soon as there is a place; the oldest that waits goes first.

        Raises:
            ProcessDied: a new process has ended before it took a call.
        """
        await self._enter()
        try:
            process = self._idle.pop() if self._idle else await Process.start(self._modules)
        except BaseException:
            self._leave()
            raise
        process.has_place = True
        self._used.add(process)
        try:
            yield process
        finally:
            self._used.discard(process)
            self._put_back(process)
            self.lend(process)

    def lend(self, process: Process) -> None:
        """Leave the place of a call that waits for another task to others."""
        if process.has_place:
            process.has_place = False
            self._leave()

    async def take_back(self, process: Process) -> None:
        """Take a place for a call that goes on, in turn."""
        if not process.has_place:
            await self._enter()
            process.has_place = True

    async def _enter(self) -> None:
        if self._places > 0 and not self._waiting:
            self._places -= 1
            return
        free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(free)
        try:
            await free
        except asyncio.CancelledError:
            if free in self._waiting:
                self._waiting.remove(free)
            else:  # the place came together with the cancellation
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(None)
                return
        self._places += 1

    def _put_back(self, process: Process) -> None:
        """Keep a process for the next call, unless it has had its share."""
        bounds = self._bounds
        spent = 0 < bounds.max_tasks <= process.calls
        bloated = 0 < bounds.max_memory < process.memory
        if bloated:
            logger.info(
                "a process has %d MB, more than %d: another one comes in its place",
                process.memory,
                bounds.max_memory,
            )
        if process.dead or spent or bloated:
            self._close(process)
        else:
            self._idle.append(process)

    def _close(self, process: Process) -> None:
        closing = asyncio.create_task(process.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End all processes; those that still run a call are killed."""
        for process in self._used:
            process.kill()
        while self._idle:
            self._close(self._idle.pop())
        if self._closing:
            await asyncio.wait(self._closing)
