"""What is called around an enqueue and around a call: one place each, free while it is empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from castwork import App, Call, TaskState, current
from castwork.tasks.chain import Chain, Proceed


async def test_an_empty_chain_is_not_in_the_way(app: App) -> None:
    chain = Chain()
    assert chain.is_empty

    async def innermost() -> int:
        return 3

    assert await chain.call("subject", innermost) == 3


async def test_the_first_that_was_added_is_outermost() -> None:
    chain, order = Chain(), list[str]()

    def wrapper(name: str) -> Any:
        async def wrapped(subject: Any, proceed: Proceed) -> Any:
            order.append(f"{name} {subject}")
            value = await proceed()
            order.append(f"/{name}")
            return value + 1

        return wrapped

    chain.add(wrapper("a"))
    chain.add(wrapper("b"))

    async def innermost() -> int:
        order.append("call")
        return 1

    assert not chain.is_empty
    assert await chain.call("s", innermost) == 3
    assert order == ["a s", "b s", "call", "/b", "/a"]
    assert await chain.call("s", innermost) == 3, "it can be called again"


async def test_enqueues_and_calls_are_wrapped(app: App) -> None:
    seen: list[str] = []

    @app.task(queue="q")
    async def work(number: int) -> int:
        seen.append("work")
        return number

    @app.task(queue="q")
    def plain(number: int) -> int:
        seen.append("plain")
        return number

    @app.task(queue="q")
    async def stream(count: int) -> AsyncIterator[str]:
        seen.append("stream")
        for number in range(count):
            yield str(number)

    async def around_enqueue(call: Call[Any], proceed: Proceed) -> Any:
        seen.append(f"enqueue {call.function.name}")
        return await proceed()

    async def around_task(call: Call[Any], proceed: Proceed) -> Any:
        seen.append(f"before {call.function.name} {current().attempt}")
        try:
            return await proceed()
        finally:
            seen.append("after")

    app.around_enqueue(around_enqueue)
    app.around_task(around_task)
    async with app, app.worker():
        assert await (await work.enqueue(3)).result(timeout=10) == 3
        assert await (await plain.enqueue(4)).result(timeout=10) == 4
        task = await stream.enqueue(3)
        assert await task.result(timeout=10) == "012"
        assert [chunk.data async for chunk in task.chunks()] == ["0", "1", "2"]

    assert seen == [
        line
        for name in ("work", "plain", "stream")
        for line in (f"enqueue {name}", f"before {name} 1", name, "after")
    ]


async def test_a_wrapper_may_answer_itself_or_fail(app: App) -> None:
    @app.task(queue="q", attempts=1)
    async def work(number: int) -> int:
        raise AssertionError("it is not called")

    async def around_task(call: Call[Any], proceed: Proceed) -> Any:
        if call.arguments == {"number": 1}:
            return 11
        raise ValueError("not this one")

    app.around_task(around_task)
    async with app, app.worker():
        assert await (await work.enqueue(1)).result(timeout=10) == 11
        status = await (await work.enqueue(2)).wait(timeout=10)
        assert status.status is TaskState.DEAD
        assert status.error is not None
        assert status.error.message == "not this one"


async def test_an_enqueue_that_a_wrapper_refuses_does_not_happen(app: App) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    async def refuse(call: Call[Any], proceed: Proceed) -> Any:
        raise PermissionError(call.function.name)

    app.around_enqueue(refuse)
    async with app:
        with pytest.raises(PermissionError):
            await work.enqueue()
        assert (await app.queues())[0].depth == 0


async def test_a_wrapped_call_is_cancelled_through(app: App) -> None:
    began = asyncio.Event()
    interrupted: list[str] = []

    @app.task(queue="q")
    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            interrupted.append("work")
            raise

    async def around_task(call: Call[Any], proceed: Proceed) -> Any:
        try:
            return await proceed()
        except asyncio.CancelledError:
            interrupted.append("wrapper")
            raise

    app.around_task(around_task)
    async with app, app.worker():
        task = await work.enqueue()
        await asyncio.wait_for(began.wait(), 10)
        assert await task.cancel(timeout=10)
    assert interrupted == ["work", "wrapper"]
