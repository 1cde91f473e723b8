"""One call of a task function with a real context, and without a server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from contextvars import copy_context
from typing import Any, Generic, ParamSpec, TypeVar

import msgspec

from castwork.model.chunk import CHUNK, Chunk
from castwork.model.codec import decode_any, encode_value
from castwork.model.entry import Meta
from castwork.model.signals import Discard
from castwork.model.signature import Kind
from castwork.model.states import TaskState
from castwork.redis.threads import in_thread
from castwork.tasks.context import set_current
from castwork.tasks.function import TaskFunction
from castwork.tasks.result import result_given

P = ParamSpec("P")
R = TypeVar("R")


class Outcome(msgspec.Struct, Generic[R]):
    """What one call came to.

    Attributes:
        status: `succeeded`, `failed` for `Discard`, else `dead`.
        result: the result, as the caller of the task would get it; None where it raised.
        chunks: what it yielded, emitted and reported, in order.
        error: what it raised; None where it returned.
    """

    status: TaskState
    result: R
    chunks: list[Chunk]
    error: BaseException | None = None


class _Chunks:
    """Takes the chunks of an attempt."""

    def __init__(self, attempt: int) -> None:
        self.all: list[Chunk] = []
        self._attempt = attempt

    async def emit(self, kind: str, data: Any) -> None:
        """Keep a chunk, as a reader would get it."""
        plain = decode_any(encode_value(data))
        self.all.append(Chunk(f"{self._attempt}-{len(self.all) + 1}", kind, plain))


class SingleAttempt:
    """An attempt that no worker runs: what `current()` stands for."""

    ended_by = ""
    deadline = 0.0
    expires = 0.0
    cancel_reason = ""

    def __init__(
        self,
        function: TaskFunction[..., Any],
        task_id: str,
        number: int = 1,
        meta: Meta | None = None,
    ) -> None:
        self.task_id = task_id
        self.number = self.counted = number
        self.meta = meta
        self.queue = function.queue.name
        self.allowed = function.settings.attempts
        self.output = _Chunks(number)
        self.home: asyncio.AbstractEventLoop | None = None
        self.checkpoint: bytes | None = None
        self.returned: msgspec.Raw | None = None
        self._function = function

    async def save(self, state: bytes) -> None:
        """Keep the state; the next attempt of an inline run has it."""
        self.checkpoint = state

    def set_result(self, value: Any) -> None:
        """Take the result of a stream; raises as `Context.set_result`."""
        self.returned = result_given(self._function, value)

    def lend_slot(self) -> AbstractAsyncContextManager[None]:
        """There are no slots."""
        return nullcontext()

    async def call(self, function: TaskFunction[..., Any], arguments: msgspec.Struct) -> Any:
        """Call the function in a context of its own, and return its result. Raises what it does."""
        self.home = asyncio.get_running_loop()
        context = copy_context()
        context.run(set_current, self)
        task = self.home.create_task(self._call(function, arguments), context=context)
        return await task

    async def _call(self, function: TaskFunction[..., Any], arguments: msgspec.Struct) -> Any:
        async with asyncio.timeout(function.settings.timeout):
            if function.signature.kind is Kind.GENERATOR:
                return await self._stream(function, function.invoke(arguments))
            if function.signature.kind is Kind.BATCH:
                [value] = await function.function(list(msgspec.structs.astuple(arguments)))
                if isinstance(value, BaseException):
                    raise value
                return value
            if function.signature.kind is Kind.COROUTINE:
                return await function.invoke(arguments)
            value = await in_thread(function.invoke, arguments, name="castwork-task")
            return await value if inspect.isawaitable(value) else value

    async def _stream(self, function: TaskFunction[..., Any], items: AsyncIterator[Any]) -> Any:
        kept = []
        async with aclosing(items):  # type: ignore[type-var]
            async for item in items:
                await self.output.emit(CHUNK, item)
                kept.append(item)
        if function.settings.result is not None:
            return self.returned
        return "".join(kept) if function.signature.joins_text else kept


async def run_task(
    function: TaskFunction[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> Outcome[R]:
    """Call a task function once, as a worker would: checked arguments, and a real `current()`.

    Returns:
        What it came to; nothing that the function raises is raised.

    Raises:
        InvalidArguments: the arguments do not fit the signature.
    """
    encoded = function.signature.encode(args, kwargs)
    attempt = SingleAttempt(function, f"{function.queue.id_prefix}:single")
    return await one_attempt(function, encoded, attempt)


async def one_attempt(
    function: TaskFunction[..., Any], encoded: bytes, attempt: SingleAttempt
) -> Outcome[Any]:
    """One attempt at a call, given its arguments as JSON."""
    try:
        value = await attempt.call(function, function.signature.decode(encoded))
        result = _decoded(function, value) if function.settings.keep_result else None
    except Exception as error:
        status = TaskState.FAILED if isinstance(error, Discard) else TaskState.DEAD
        return Outcome(status, None, attempt.output.all, error)
    return Outcome(TaskState.SUCCEEDED, result, attempt.output.all)


def _decoded(function: TaskFunction[..., Any], value: Any) -> Any:
    """A result as the caller of the task would get it."""
    if value is None and function.settings.result is not None:  # none was set
        return None
    return function.decode_result(encode_value(value))
