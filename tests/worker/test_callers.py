"""Functions of every kind: what they return is awaited, iterated, or the result."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any

import pytest
from tests.worker.conftest import MakeRoles

from castwork import App, TaskState
from castwork.model.record import TaskStatus


class Stream:
    """What SDKs return: an iterator that can be closed, and is no generator."""

    def __init__(self) -> None:
        self.left = ["a", "b"]
        self.closed = 0

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    async def close(self) -> None:
        self.closed += 1


class Pair:
    """What can be iterated again and again."""

    async def __aiter__(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"


async def pair() -> AsyncGenerator[str, None]:
    yield "a"
    yield "b"


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows nothing of coroutines."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def iterator() -> AsyncIterator[str]:
    return Stream()


def generator() -> AsyncGenerator[str, None]:
    return pair()


def iterable() -> AsyncIterable[str]:
    return Pair()


async def later() -> AsyncIterator[str]:
    return Stream()


async def ended(app: App, make_roles: MakeRoles, function: Callable[[], Any]) -> TaskStatus:
    task = app.task(queue="q", attempts=5, name="made")(function)
    roles = await make_roles()
    made = await task.enqueue()
    await roles.fetcher.claim(1)
    return await made.wait(timeout=10)


@pytest.mark.parametrize("wrap", [lambda function: function, plain], ids=["bare", "decorated"])
@pytest.mark.parametrize("function", [pair, iterator, generator, iterable, later])
async def test_the_items_of_an_async_iterable_are_chunks(
    app: App, make_roles: MakeRoles, function: Callable[[], Any], wrap: Callable[..., Any]
) -> None:
    status = await ended(app, make_roles, wrap(function))

    assert (status.status, status.value) == (TaskState.SUCCEEDED, "ab")
    task = app.get_task(status.task_id)
    assert [chunk.data async for chunk in task.chunks()] == ["a", "b"]
    stream = app.tasks.get("made")
    assert [item async for item in stream()] == ["a", "b"]


async def test_an_iterator_is_closed_at_its_end(app: App, make_roles: MakeRoles) -> None:
    made: list[Stream] = []

    def stream() -> AsyncIterator[str]:
        made.append(Stream())
        made[-1].left = ["a", None]  # type: ignore[list-item]
        return made[-1]

    status = await ended(app, make_roles, stream)

    assert status.status is TaskState.DEAD  # by its second item, which is no text
    assert [one.closed for one in made] == [1]


async def test_a_decorated_coroutine_function_is_awaited(app: App, make_roles: MakeRoles) -> None:
    @plain
    async def work() -> int:
        return 5

    assert (await ended(app, make_roles, work)).value == 5


async def unsaid():  # type: ignore[no-untyped-def]
    return pair()


def unsaid_too():  # type: ignore[no-untyped-def]
    return pair()


def wrong() -> AsyncIterator[str]:
    return ["a"]  # type: ignore[return-value]


@pytest.mark.parametrize("function", [unsaid, unsaid_too, wrong])
async def test_an_iterator_that_is_not_declared_is_told_at_once(
    app: App, make_roles: MakeRoles, function: Callable[[], Any]
) -> None:
    status = await ended(app, make_roles, function)

    assert (status.status, status.attempts) == (TaskState.DEAD, 1)
    assert status.error is not None
    assert status.error.type == "DefinitionError"
    assert "async iterator" in status.error.message
