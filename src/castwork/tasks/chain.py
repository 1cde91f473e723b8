"""Chain: wrappers that are called around a call, the first added outermost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

Proceed = Callable[[], Awaitable[Any]]
ProceedSync = Callable[[], Any]
Wrapper = Callable[[Any, Proceed], Awaitable[Any]]
PlainWrapper = Callable[[Any, ProceedSync], Any]


class Chain:
    """Wrappers around one kind of call. Callers ask `is_empty` first: no wrappers, no cost."""

    def __init__(self) -> None:
        self._wrappers: list[Wrapper] = []
        self._plain: list[PlainWrapper] = []

    @property
    def is_empty(self) -> bool:
        """Whether there are no wrappers on the event loop."""
        return not self._wrappers

    @property
    def has_plain(self) -> bool:
        """Whether there are wrappers for the threads of plain functions."""
        return bool(self._plain)

    def add(self, wrapper: Wrapper) -> None:
        """Add a wrapper, inside of the wrappers that were added before."""
        self._wrappers.append(wrapper)

    @contextmanager
    def with_wrapper(self, wrapper: Wrapper) -> Iterator[None]:
        """Have one more wrapper, the innermost, inside of a block."""
        self._wrappers.append(wrapper)
        try:
            yield
        finally:
            self._wrappers.remove(wrapper)

    def add_plain(self, wrapper: PlainWrapper) -> None:
        """Add a wrapper around plain functions, which runs in their threads."""
        self._plain.append(wrapper)

    def call_plain(self, subject: Any, innermost: ProceedSync) -> Any:
        """Call the plain wrappers around `innermost`, in this thread."""
        return self._call_plain(0, subject, innermost)

    def _call_plain(self, at: int, subject: Any, innermost: ProceedSync) -> Any:
        if at == len(self._plain):
            return innermost()
        return self._plain[at](subject, lambda: self._call_plain(at + 1, subject, innermost))

    async def call(self, subject: Any, innermost: Proceed) -> Any:
        """Call the wrappers around `innermost`; each gets the subject, and calls the next one."""
        return await self._call(0, subject, innermost)

    async def _call(self, at: int, subject: Any, innermost: Proceed) -> Any:
        if at == len(self._wrappers):
            return await innermost()
        return await self._wrappers[at](subject, lambda: self._call(at + 1, subject, innermost))
