"""Crossing: items on their way from a thread to an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

#: Items that may be on their way at once; then the thread waits for the loop.
_ROOM = 64


class Crossing(Generic[T]):
    """Takes items from one thread to the event loop on which it was made, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._room = threading.Semaphore(_ROOM)
        self._items: deque[T] = deque()
        self._sent_all = False
        self._closed = False

    def send(self, items: Iterable[T]) -> None:
        """Send all items, in the thread; stop at the next one when nobody wants more.

        Either way the iterator is closed, in this thread. Raises what the iterator does.
        """
        iterator = iter(items)
        try:
            for item in iterator:
                self._room.acquire()
                if self._closed:
                    return
                self._items.append(item)
                self._wake()
        finally:
            try:
                if (close := getattr(iterator, "close", None)) is not None:
                    close()
            finally:
                self._sent_all = True
                self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ready.set)

    def close(self) -> None:
        """Want no more items."""
        self._closed = True
        self._room.release()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            await self._ready.wait()
            self._ready.clear()
            ends = self._sent_all  # looked at before the items: those behind this look wake again
            while self._items:
                yield self._items.popleft()
                self._room.release()
            if ends:
                return
