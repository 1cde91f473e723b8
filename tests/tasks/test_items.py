"""The items of a stream, in their own type and without anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from castwork import App, Backoff, OutputReset, TaskDead, current
from castwork.model.errors import OutputTrimmed
from castwork.model.settings import AppSettings, Limits


class Token(msgspec.Struct):
    text: str
    number: int = 0


async def test_items_have_their_own_type_and_nothing_is_between_them(app: App) -> None:
    @app.task
    async def chat(words: list[str]) -> AsyncIterator[Token]:
        await current().progress(0.5)
        for number, word in enumerate(words):
            yield Token(word, number)
            await current().emit("source", word)

    async with app, app.worker():
        task = await chat.enqueue(["a", "b"])
        assert [item async for item in task.items()] == [Token("a"), Token("b", 1)]
        assert await asyncio.to_thread(lambda: list(task.items_sync())) == [
            *(Token("a"), Token("b", 1))
        ]
        assert [item async for item in chat.task(task.id).items()] == [Token("a"), Token("b", 1)]


async def test_a_failure_comes_behind_the_items(app: App) -> None:
    @app.task(attempts=1)
    async def chat() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("broken")

    async with app, app.worker():
        task, seen = await chat.enqueue(), []
        with pytest.raises(TaskDead, match="broken"):
            async for item in task.items():
                seen.append(item)
        assert seen == ["a"]


@pytest.mark.parametrize("taken", [True, False])
async def test_a_new_attempt_voids_what_was_taken_and_is_not_seen_else(
    app: App, taken: bool
) -> None:
    go = asyncio.Event()

    @app.task(attempts=2, backoff=Backoff(base=0))
    async def chat() -> AsyncIterator[str]:
        if current().attempt == 1:
            if taken:
                yield "void"
            await go.wait()
            raise ValueError("again")
        yield "good"

    async with app, app.worker(scheduler_interval=0.01):
        items = (await chat.enqueue()).items()
        if taken:
            assert await anext(items) == "void"
            go.set()
            with pytest.raises(OutputReset):
                await anext(items)
        else:
            go.set()
            assert [item async for item in items] == ["good"]


async def test_items_that_are_gone_are_told(server_url: str, namespace: str) -> None:
    settings = AppSettings(namespace=namespace, limits=Limits(output=10))
    app = App(server_url, settings=settings)

    @app.task
    async def chat() -> AsyncIterator[int]:
        for number in range(500):
            yield number

    async with app, app.worker():
        task = await chat.enqueue()
        await task.wait(timeout=10)
        with pytest.raises(OutputTrimmed, match="items are missing"):
            async for _ in task.items():
                pass
