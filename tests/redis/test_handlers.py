"""Whatever users give as a function is called, and what it returns is awaited."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from castwork.redis.handlers import call_handler


class Called:
    def __init__(self) -> None:
        self.with_: list[Any] = []
        self.threads: list[bool] = []

    def note(self, *arguments: Any) -> None:
        self.with_.append(arguments)
        self.threads.append(threading.current_thread() is threading.main_thread())

    async def note_later(self, *arguments: Any) -> None:
        self.note(*arguments)

    async def __call__(self, *arguments: Any) -> None:
        self.note(*arguments)


@pytest.mark.parametrize("arguments", [(), (1,)])
@pytest.mark.parametrize("kind", ["coroutine", "wrapper", "partial", "object", "plain"])
async def test_a_function_of_any_kind_runs_to_its_end(
    kind: str, arguments: tuple[Any, ...]
) -> None:
    called = Called()

    def returning(*given: Any) -> Any:
        return called.note_later(*given)

    functions: dict[str, Any] = {
        "coroutine": called.note_later,
        "wrapper": returning,
        "partial": functools.partial(called.note_later),
        "object": called,
        "plain": called.note,
    }

    await call_handler(functions[kind], *arguments)

    assert called.with_ == [arguments]
    assert called.threads == [kind != "plain"]  # a plain function may block: not the event loop


async def test_what_a_function_raises_is_raised() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await call_handler(fail)


async def test_stop_iteration_of_a_plain_function_is_told() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(call_handler(lambda: next(iter([]))), 10)


async def test_a_handler_waits_for_no_thread_that_others_have_taken(
    full_executor: None,
) -> None:
    called = Called()
    await asyncio.wait_for(call_handler(called.note, 1), 10)
    assert called.with_ == [(1,)]


@pytest.fixture
async def full_executor() -> AsyncIterator[None]:
    """The loop's default executor, whose only thread is taken."""
    gate = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    taken = loop.run_in_executor(None, gate.wait, 60)
    yield
    gate.set()
    await taken
