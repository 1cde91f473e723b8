"""Chain: wrappers that are called around a call, the first added outermost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Proceed = Callable[[], Awaitable[Any]]
Wrapper = Callable[[Any, Proceed], Awaitable[Any]]


class Chain:
    """Wrappers around one kind of call. Callers ask `is_empty` first: no wrappers, no cost."""

    def __init__(self) -> None:
        self._wrappers: list[Wrapper] = []

    @property
    def is_empty(self) -> bool:
        """Whether there are no wrappers."""
        return not self._wrappers

    def add(self, wrapper: Wrapper) -> None:
        """Add a wrapper, inside of the wrappers that were added before."""
        self._wrappers.append(wrapper)

    async def call(self, subject: Any, innermost: Proceed) -> Any:
        """Call the wrappers around `innermost`; each gets the subject, and calls the next one."""
        return await self._call(0, subject, innermost)

    async def _call(self, at: int, subject: Any, innermost: Proceed) -> Any:
        if at == len(self._wrappers):
            return await innermost()
        return await self._wrappers[at](subject, lambda: self._call(at + 1, subject, innermost))
