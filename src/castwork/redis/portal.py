"""Portal: the event loop in a thread of its own on which the twins ending in `_sync` run."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

from castwork.model.errors import NotOpen, WouldBlock
from castwork.redis.threads import loop_here

T = TypeVar("T")


class Portal:
    """Runs coroutines for callers without an event loop; one loop for all apps of the process.

    The daemon thread begins on first use, and lives as long as the process. A forked child begins
    its own.

    Attributes:
        guards: called with a twin's name before the twin may block its caller; one raises where
            the caller must not be blocked.
    """

    def __init__(self) -> None:
        self.guards: list[Callable[[str], None]] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        os.register_at_fork(after_in_child=self._forget)

    def run(self, name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in a copy of the caller's context, and block until it has ended.

        Args:
            name: of the coroutine method whose twin this is.
            make: makes the coroutine.

        Raises:
            WouldBlock: the caller is an event loop that must go on meanwhile.
            NotOpen: the interpreter is ending.
            Whatever the coroutine raises.
        """
        for guard in self.guards:
            guard(name)
        loop = self._running_loop(name)
        under_way = asyncio.run_coroutine_threadsafe(make(), loop)
        try:
            return under_way.result()
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise NotOpen(f"the interpreter is ending: call {name}_sync before that") from error
        except BaseException:
            under_way.cancel()  # as when Ctrl-C ends the wait
            raise

    def iterate(self, name: str, make: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        """The items of an async iterator, each fetched when it is asked for; raises as `run`."""

        async def begin() -> AsyncIterator[T]:
            return make()

        async def end() -> None:
            if (close := getattr(items, "aclose", None)) is not None:
                await close()

        items = self.run(name, begin)
        try:
            while True:
                item = self.run(name, lambda: _next(items))
                if item is _END:
                    return
                yield cast("T", item)
        finally:
            self.run(name, end)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, begun if it is not; raises as `run`."""
        return self._begun_loop("loop")

    async def aside(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine there for a caller that has an event loop."""
        loop = self._running_loop("close")
        begun = asyncio.run_coroutine_threadsafe(make(), loop)
        return await asyncio.wrap_future(begun)

    def _running_loop(self, name: str) -> asyncio.AbstractEventLoop:
        loop = self._begun_loop(name)
        if loop_here() is loop:
            raise WouldBlock(f"{name}_sync would wait for itself here: await {name}(...)")
        return loop

    def _begun_loop(self, name: str) -> asyncio.AbstractEventLoop:
        if sys.is_finalizing():  # daemon threads are frozen by now, the loop's among them
            raise NotOpen("the interpreter is ending: nothing can be enqueued or asked any more")
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=loop.run_forever, name="castwork-sync", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError as error:
                    loop.close()
                    raise NotOpen(
                        "the interpreter is ending, and no thread can be started any more: call"
                        f" {name}_sync once before, or use a connection of your own"
                    ) from error
                self._loop = loop
            return self._loop

    def _forget(self) -> None:
        """Begin anew in a forked child: threads do not survive a fork."""
        self._lock = threading.Lock()
        self._loop = None


#: What comes behind the last item.
_END = object()


async def _next(items: AsyncIterator[T]) -> object:
    return await anext(items, _END)


#: The portal of this process.
portal = Portal()
