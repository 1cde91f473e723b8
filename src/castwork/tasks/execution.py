"""Execution: calls a task function for an attempt, and makes its result."""

from __future__ import annotations

import contextvars
from asyncio import AbstractEventLoop
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any

from castwork.model.codec import encode_value
from castwork.model.errors import PayloadTooLarge
from castwork.model.settings import Limits
from castwork.model.signature import Kind
from castwork.model.states import TaskState
from castwork.redis.keys import QueueKeys
from castwork.redis.link import Link
from castwork.tasks.attempt import Attempt, set_current
from castwork.tasks.emitter import Emitter
from castwork.tasks.outcome import Bury, Finish, Outcome, describe

_SUCCEEDED = Finish(TaskState.SUCCEEDED)


class Execution:
    """Runs the code of attempts: coroutines on the loop, streams, the rest in threads.

    Args:
        link: carries the chunks.
        keys: the queue's keys.
        limits: bounds on results and outputs.
        threads: runs functions that are not coroutines.
    """

    def __init__(
        self,
        link: Link,
        keys: QueueKeys,
        limits: Limits,
        threads: ThreadPoolExecutor,
        loop: AbstractEventLoop,
    ) -> None:
        self._link = link
        self._keys = keys
        self._limits = limits
        self._threads = threads
        self._loop = loop

    async def run(self, attempt: Attempt) -> Outcome:
        """Run one attempt to its end.

        Raises:
            InvalidArguments: the arguments do not fit: the task can never run.
            LeaseLost: a later attempt has begun.
            Exception: whatever the task function raises.
        """
        function, entry = attempt.function, attempt.entry
        assert function is not None and entry is not None
        attempt.started_at = time()
        meta = entry.meta
        timeout = meta.timeout if meta is not None and meta.timeout else function.settings.timeout
        if timeout is not None:
            attempt.deadline = attempt.launched_at + timeout
        arguments = function.decode_arguments(entry.args)
        attempt.make_emitter = self._emitter
        set_current(attempt)
        value: Any
        if function.signature.kind is Kind.COROUTINE:
            value = await function.invoke(arguments)
        elif function.signature.kind is Kind.GENERATOR:
            value = await self._stream(attempt, function.invoke(arguments))
        else:
            context = contextvars.copy_context()
            value = await self._loop.run_in_executor(
                self._threads, context.run, function.invoke, arguments
            )
        return _SUCCEEDED if value is None else self._result(attempt, value)

    def _emitter(self, attempt: Attempt) -> Emitter:
        key = self._keys.output(attempt.task_id)
        return Emitter(self._link, key, attempt.number, self._limits.output)

    async def _stream(self, attempt: Attempt, generator: Any) -> Any:
        """Send each item of an async generator as a chunk, and gather the result."""
        emitter, function = attempt.output, attempt.function
        assert function is not None
        if attempt.number > 1:
            await emitter.reset()
        items: list[Any] = []
        size = 0
        try:
            async for item in generator:
                items.append(item)
                size += len(item) if isinstance(item, str) else 16
                if size > self._limits.result:
                    raise PayloadTooLarge("the task's output", size, self._limits.result)
                await emitter.emit("chunk", item)
        finally:
            await generator.aclose()
        await emitter.flush()
        return "".join(items) if function.signature.joins_text else items

    def _result(self, attempt: Attempt, value: Any) -> Outcome:
        try:
            result = encode_value(value)
            if len(result) > self._limits.result:
                raise PayloadTooLarge("the task's result", len(result), self._limits.result)
        except (TypeError, PayloadTooLarge) as error:
            # Another attempt would give such a result again.
            return Bury(describe(error, attempt=attempt.number, worker=""))
        return Finish(TaskState.SUCCEEDED, result)
