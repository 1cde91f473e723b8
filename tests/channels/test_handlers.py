"""Whatever users give as a function is called, and what it returns is awaited."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

from castwork.channels.handlers import call_handler


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
