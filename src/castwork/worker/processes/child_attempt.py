"""The attempt that runs in a child process: what `current()` stands for there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any

from castwork.model.codec import encode_value
from castwork.model.errors import CastworkError
from castwork.redis.portal import portal
from castwork.tasks.function import TaskFunction
from castwork.tasks.result import result_given
from castwork.worker.processes.messages import Begin, Emit, Lend, Request, Save, TakeBack

#: Asks the worker for something, and waits for the answer; raises what comes of it.
AskWorker = Callable[[Request], Coroutine[Any, Any, None]]


class _Chunks:
    """Sends the chunks of a call to the worker."""

    def __init__(self, ask: AskWorker) -> None:
        self._ask = ask

    async def emit(self, kind: str, data: Any) -> None:
        """Write a chunk."""
        await self._ask(Emit(kind, encode_value(data)))


class ChildAttempt:
    """An attempt whose leases, outputs and slots its worker holds.

    Args:
        begin: what the worker tells of it.
        function: the function that is called.
        ask: asks the worker for something.
    """

    def __init__(self, begin: Begin, function: TaskFunction[Any, Any], ask: AskWorker) -> None:
        now = monotonic()
        self.task_id = begin.task_id
        self.queue = begin.queue
        self.number = begin.number
        self.allowed = begin.allowed
        self.counted = begin.counted
        self.meta = begin.meta
        self.checkpoint = begin.checkpoint
        self.deadline = now + begin.deadline if begin.deadline is not None else 0.0
        self.expires = now + begin.expires if begin.expires is not None else 0.0
        self.ended_by = ""
        self.cancel_reason = ""
        self.output = _Chunks(ask)
        self.finished = False
        self._function = function
        self._ask = ask

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which the process talks to its worker; None once the call has ended."""
        return None if self.finished else portal.loop

    def set_result(self, value: Any) -> None:
        """Refuse a result that is set, as plain functions return theirs."""
        result_given(self._function, value)

    async def save(self, state: bytes) -> None:
        """Keep the code's state for the attempts after this one."""
        if self.finished:
            raise CastworkError(f"task {self.task_id} has ended: it saves nothing any more")
        await self._ask(Save(state))
        self.checkpoint = state

    def lend_slot(self) -> AbstractAsyncContextManager[None]:
        """Around a wait for another task: the slot and the place in the pool are lent meanwhile."""
        return self._lent()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[None]:
        await self._ask(Lend())
        try:
            yield
        finally:
            await self._ask(TakeBack())
