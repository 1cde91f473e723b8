"""Chain: what is called around something else, the first added outermost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Proceed = Callable[[], Awaitable[Any]]
Wrapper = Callable[[Any, Proceed], Awaitable[Any]]


class Chain:
    """Wrappers around one kind of call. Free while there are none: callers ask `is_empty`."""

    def __init__(self) -> None:
        self._wrappers: list[Wrapper] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is called around."""
        return not self._wrappers

    def add(self, wrapper: Wrapper) -> None:
        """Add a wrapper inside of those that are there."""
        self._wrappers.append(wrapper)

    async def call(self, subject: Any, innermost: Proceed) -> Any:
        """Call the wrappers around `innermost`, each with the subject and the way on."""
        return await self._call(0, subject, innermost)

    async def _call(self, at: int, subject: Any, innermost: Proceed) -> Any:
        if at == len(self._wrappers):
            return await innermost()
        return await self._wrappers[at](subject, lambda: self._call(at + 1, subject, innermost))
