"""What `@app.task` returns, for type checkers: one kind of task function per kind of function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from castwork.tasks.kinds import (
    BatchFunction,
    CoroutineFunction,
    ForgettingCoroutine,
    ForgettingPlain,
    PlainFunction,
    StreamFunction,
)
from castwork.tasks.resource import Resource

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
T = TypeVar("T")


class TaskDecorator(Protocol):
    """What `@app.task(...)` returns; the kind and the result type follow from the function."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> PlainFunction[P, R]: ...


class ResultDecorator(Protocol[R]):
    """What `@app.task(result=...)` returns: for generators, which set their result."""

    @overload
    def __call__(self, function: Callable[P, AsyncIterator[C]], /) -> StreamFunction[P, R, C]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[C]], /) -> StreamFunction[P, R, C]: ...


class BatchDecorator(Protocol):
    """What `@app.task(batch=...)` returns: callers enqueue single items."""

    @overload
    def __call__(
        self, function: Callable[[list[T]], Awaitable[list[R | Exception]]], /
    ) -> BatchFunction[T, R]: ...
    @overload
    def __call__(
        self, function: Callable[[list[T]], Awaitable[list[R]]], /
    ) -> BatchFunction[T, R]: ...


class ResourceDecorator(Protocol):
    """What `@app.resource(queues=...)` returns."""

    @overload
    def __call__(self, make: Callable[[], AsyncIterator[C]], /) -> Resource[C]: ...
    @overload
    def __call__(self, make: Callable[[], Iterator[C]], /) -> Resource[C]: ...
    @overload
    def __call__(self, make: Callable[[], Coroutine[Any, Any, C]], /) -> Resource[C]: ...
    @overload
    def __call__(self, make: Callable[[], C], /) -> Resource[C]: ...


class ForgettingDecorator(Protocol):
    """What `@app.task(keep_result=False)` returns: `result()` of the tasks answers None."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[C]], /
    ) -> StreamFunction[P, None, C]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[C]], /
    ) -> StreamFunction[P, None, C]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> ForgettingCoroutine[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> ForgettingPlain[P, R]: ...
