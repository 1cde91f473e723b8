"""Slots: how many tasks of a queue run at once, and how many more may be claimed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """Counts running and held tasks of one queue.

    A task takes a slot when it is claimed and gives it back when its code is done; it is held
    until its outcome is stored. When outcomes cannot be stored, claiming stops at twice the
    capacity.

    Args:
        capacity: tasks that run at once.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.running = 0
        self.held = 0
        self.reserved = 0
        self._closed = False
        self._awaited = False
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """Tasks that may be claimed now."""
        return self.capacity - max(self.running, self.held - self.capacity) - self.reserved

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Keep slots for tasks that are being claimed."""
        self.reserved += count
        try:
            yield
        finally:
            self.reserved -= count
            self._signal()

    def take(self) -> None:
        """A task was claimed."""
        self.running += 1
        self.held += 1

    def done(self) -> None:
        """A task's code is done."""
        self.running -= 1
        self._signal()

    def settle(self) -> None:
        """A task's outcome is stored, or it is no longer ours."""
        self.held -= 1
        self._signal()

    def _signal(self) -> None:
        if self._awaited:
            self._awaited = False
            self._changed.set()

    async def wait_free(self) -> None:
        """Wait until a slot is free, or `close` is called."""
        while self.free <= 0 and not self._closed:
            self._changed.clear()
            self._awaited = True
            await self._changed.wait()

    def close(self) -> None:
        """Let whoever waits go: nothing is claimed any more."""
        self._closed = True
        self._changed.set()
