"""Callers: chooses the caller of a task function."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from castwork.model.settings import Limits
from castwork.model.signature import Kind
from castwork.tasks.chain import Chain
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.callers.batch import batch_caller
from castwork.worker.callers.coroutine import coroutine_caller
from castwork.worker.callers.process import process_caller
from castwork.worker.callers.shown import Shown
from castwork.worker.callers.stream import stream_caller
from castwork.worker.callers.subject import call_of
from castwork.worker.callers.thread import thread_caller
from castwork.worker.callers.thread_stream import thread_stream_caller
from castwork.worker.processes.pool import Pool
from castwork.worker.runnable import Caller, Runnable


def _forgetting(call: Caller) -> Caller:
    """A caller for functions whose results are not kept."""

    async def forgetting(attempt: Attempt, arguments: Any) -> None:
        await call(attempt, arguments)

    return forgetting


class Callers:
    """Makes the callers of one worker.

    Args:
        threads: runs functions that are not coroutines.
        limits: bounds on outputs.
        pool: runs functions that are to run in child processes.
        around: the wrappers that are called around each call.
    """

    def __init__(self, threads: Executor, pool: Pool, limits: Limits, around: Chain) -> None:
        self._threads = threads
        self._pool = pool
        self._limits = limits
        self._around = around

    def runnable(self, function: TaskFunction[Any, Any]) -> Runnable:
        """The function with its caller."""
        call = self._wrapped(function, self._choose(function))
        return Runnable(function, call if function.settings.keep_result else _forgetting(call))

    def _choose(self, function: TaskFunction[Any, Any]) -> Caller:
        kind = function.signature.kind
        if kind is Kind.BATCH:
            return batch_caller(function, self._around)
        if kind is Kind.COROUTINE:
            return coroutine_caller(function)
        if kind is Kind.GENERATOR:
            if function.signature.is_plain:
                return thread_stream_caller(function, self._threads, self._limits, self._around)
            return stream_caller(function, self._limits)
        if function.settings.run_in == "process":
            return process_caller(function, self._pool)
        return thread_caller(function, self._threads, self._around)

    def _wrapped(self, function: TaskFunction[Any, Any], call: Caller) -> Caller:
        around, decode = self._around, function.decode_result
        if around.is_empty or function.signature.kind is Kind.BATCH:
            return call

        async def wrapped(attempt: Attempt, arguments: Any) -> Any:
            shown = Shown(decode)

            async def innermost() -> Any:
                return shown.show(await call(attempt, arguments))

            return shown.settle(await around.call(call_of(attempt, arguments), innermost))

        return wrapped
