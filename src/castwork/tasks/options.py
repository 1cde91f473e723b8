"""What `@app.task(...)` and `app.worker(...)` take, for type checkers and for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ParamSpec, Protocol, TypedDict, TypeVar, overload

from castwork.model.retry import Backoff
from castwork.tasks.function import TaskFunction

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class TaskOptions(TypedDict, total=False):
    """What `@app.task(...)` takes; see `TaskSettings` for units and defaults."""

    name: str
    queue: str
    attempts: int
    timeout: float | None
    result_ttl: float
    backoff: Backoff
    stream: str
    group: str
    keep_entries: bool


class WorkerOptions(TypedDict, total=False):
    """What `app.worker(...)` takes; see `WorkerSettings` for units and defaults."""

    concurrency: int
    lease: float
    grace: float
    block: float
    announce_after: float
    scheduler_interval: float
    heartbeat: float


class TaskDecorator(Protocol):
    """What `@app.task(...)` returns; the task's result type follows from the function."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[str]]
    ) -> TaskFunction[P, str]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[T]]) -> TaskFunction[P, list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> TaskFunction[P, R]: ...
