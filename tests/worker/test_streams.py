"""Streams: what becomes of their items, and of items that cannot be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worker.conftest import MakeRoles

from castwork import App, TaskState
from castwork.model.codec import encode_value
from castwork.model.errors import InvalidArguments, ResultNotKept
from castwork.tasks.chain import Chain
from castwork.worker.callers.stream import Items
from castwork.worker.outcome import NotKept


@given(st.lists(st.text()), st.integers(2, 60))
def test_text_is_joined_as_json_while_it_fits(items: list[str], most: int) -> None:
    joined = encode_value("".join(items))
    kept = Items(joins_text=True, most=most)
    for item in items:
        assert bytes(kept.add(item)) == encode_value(item)

    result = kept.result()
    if len(joined) > most:
        assert isinstance(result, NotKept)
    else:
        assert bytes(result) == joined  # type: ignore[arg-type]


@given(st.lists(st.none() | st.integers() | st.lists(st.booleans())))
def test_other_items_make_a_list(items: list[Any]) -> None:
    kept = Items(joins_text=False, most=10_000)
    for item in items:
        kept.add(item)

    assert bytes(kept.result()) == encode_value(items)  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [5, b"bytes", None, "\ud800"])
def test_what_is_no_text_is_no_item_of_a_text_stream(item: Any) -> None:
    with pytest.raises(InvalidArguments):
        Items(joins_text=True, most=100).add(item)


def nested() -> Any:
    value: list[Any] = []
    for _ in range(3000):
        value = [value]
    return value


@pytest.mark.parametrize("make", [object, nested, lambda: "\ud800"])
async def test_an_item_that_cannot_be_sent_is_no_matter_of_another_attempt(
    app: App, make_roles: MakeRoles, make: Callable[[], Any]
) -> None:
    @app.task(queue="q", attempts=5)
    async def stream() -> AsyncIterator[Any]:
        yield make()

    roles = await make_roles()
    task = await stream.enqueue()
    await roles.fetcher.claim(1)
    status = await task.wait(timeout=10)

    assert (status.status, status.attempts) == (TaskState.DEAD, 1)
    assert status.error is not None
    assert status.error.type == "InvalidArguments"


async def stop_here(_: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
    return await proceed()


@pytest.mark.parametrize("wrappers", [0, 1])
async def test_a_stream_too_large_for_a_result_has_succeeded(
    app: App, make_roles: MakeRoles, wrappers: int
) -> None:
    around = Chain()
    for _ in range(wrappers):
        around.add(stop_here)

    @app.task(queue="q")
    async def stream() -> AsyncIterator[str]:
        for _ in range(11):
            yield "x" * 100_000

    roles = await make_roles(around=around)
    task = await stream.enqueue()
    await roles.fetcher.claim(1)
    status = await task.wait(timeout=10)

    assert (status.status, status.attempts) == (TaskState.SUCCEEDED, 1)
    assert len([chunk async for chunk in task.chunks()]) == 11
    with pytest.raises(ResultNotKept, match=r"1,100,002 bytes.*Limits\.result"):
        await task.result(timeout=10)


async def test_a_wrapper_gets_the_result_of_a_stream(app: App, make_roles: MakeRoles) -> None:
    seen: list[Any] = []

    async def look(_: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        seen.append(await proceed())
        return seen[-1] + "!"

    @app.task(queue="q")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    around = Chain()
    around.add(look)
    roles = await make_roles(around=around)
    task = await stream.enqueue()
    await roles.fetcher.claim(1)

    assert await task.result(timeout=10) == "ab!"
    assert seen == ["ab"]
