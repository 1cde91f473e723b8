"""Threads of castwork's own, which users' calls of `asyncio.to_thread` cannot fill."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def loop_here() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def is_left_behind() -> bool:
    """Whether this is a daemon thread of a process that ends: what it meets is of no concern."""
    return threading.current_thread().daemon and not threading.main_thread().is_alive()


async def in_thread(
    function: Callable[..., T], *arguments: Any, name: str, is_daemon: bool = False
) -> T:
    """Call a function in a thread of its own, in a copy of the caller's context.

    The default executor of the loop has few threads: where code that hangs has taken all of them,
    `asyncio.to_thread` waits for ever. A thread cannot be interrupted: the function goes on when
    the caller is cancelled.

    Args:
        function: the function.
        arguments: its arguments.
        name: name of the thread, for those who look at a stack.
        is_daemon: whether the process may end while the thread still runs.

    Raises:
        RuntimeError: the function let StopIteration or GeneratorExit out. Whatever
            else it raises comes as it is.
    """
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[Any], None], outcome: Any) -> None:
        if not done.done():
            settle(outcome)

    def run() -> None:
        try:
            settle, outcome = done.set_result, context.run(call_in_thread, function, *arguments)
        except BaseException as error:
            settle, outcome = done.set_exception, error  # type: ignore[assignment]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, settle, outcome)

    threading.Thread(target=run, name=name, daemon=is_daemon).start()
    return await done


def call_in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a user's function in the thread that runs this.

    A future refuses StopIteration, and a coroutine that gets GeneratorExit from one is ended by it:
    the caller would wait for ever.

    Raises:
        RuntimeError: the function let StopIteration or GeneratorExit out.
    """
    try:
        return function(*arguments)
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"the function let {type(error).__name__} out") from error
