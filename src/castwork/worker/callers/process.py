"""Plain functions that compute run in child processes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import msgspec

from castwork.tasks.declared import find_declared, place_of
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.processes.messages import Emit, Lend, Request, Save
from castwork.worker.processes.pool import Pool
from castwork.worker.processes.process import Process
from castwork.worker.runnable import Caller


class _Call:
    """One call in a process, and what it asks its worker for."""

    def __init__(self, attempt: Attempt, pool: Pool, process: Process) -> None:
        self._attempt = attempt
        self._pool = pool
        self._process = process
        self._lent: list[AsyncExitStack] = []

    async def serve(self, request: Request) -> None:
        """Do what the call asks for; raises as the method of the attempt that does it."""
        if isinstance(request, Emit):
            await self._attempt.output.emit(request.kind, msgspec.Raw(request.data))
        elif isinstance(request, Save):
            await self._attempt.save(request.state)
        elif isinstance(request, Lend):
            waiting = AsyncExitStack()
            await waiting.enter_async_context(self._attempt.lend_slot())
            self._lent.append(waiting)
            self._pool.lend(self._process)
        elif self._lent:
            await self._lent.pop().aclose()
            if not self._lent:
                await self._pool.take_back(self._process)

    async def end(self) -> None:
        """Take back the slots that are lent still, as the process died or left them."""
        while self._lent:
            await self._lent.pop().aclose()


def process_caller(function: TaskFunction[Any, Any], pool: Pool) -> Caller:
    """A caller that runs the function in a child process, and its plain wrappers there, too.

    The attempt's timeout begins with the call: an attempt that waits for a process has not begun.
    """
    declared = find_declared(place_of(function))

    async def call(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        timeout = attempt.wait_to_begin()
        async with pool.process() as process:
            attempt.begin_now(timeout)
            one = _Call(attempt, pool, process)
            try:
                return await process.run(attempt, declared, one.serve)
            finally:
                await one.end()

    return call
