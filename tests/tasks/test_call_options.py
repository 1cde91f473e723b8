"""Options of calls: those made through them have them, all others have not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from castwork import App, current
from castwork.model.errors import CastworkError
from castwork.tasks.kinds import CoroutineFunction


@pytest.fixture
def owner(app: App) -> CoroutineFunction[[int], str]:
    @app.task(queue="q")
    async def owner(number: int) -> str:
        return f"{current().owner} {number}"

    return owner


Owner = CoroutineFunction[[int], str]


async def test_calls_of_different_options_that_gather_keep_their_own(
    app: App, owner: Owner
) -> None:
    async with app, app.worker():
        ways: list[Any] = [owner, *(owner.options(owner=name) for name in ("ann", "bob"))]
        tasks = await asyncio.gather(*(ways[n % 3].enqueue(n) for n in range(60)))

        results = [await task.result(timeout=10) for task in tasks]
        assert results == [f"{['', 'ann', 'bob'][n % 3]} {n}" for n in range(60)]


async def test_options_hold_for_many_calls_and_for_calls_from_threads(
    app: App, owner: Owner
) -> None:
    mine = owner.options(owner="ann")
    async with app, app.worker():
        tasks = await mine.enqueue_many([0, 1])
        tasks.append(await asyncio.to_thread(mine.enqueue_sync, 2))

        assert [await t.result(timeout=10) for t in tasks] == ["ann 0", "ann 1", "ann 2"]


async def test_options_add_to_those_that_were_there(app: App, owner: Owner) -> None:
    async with app:
        urgent = owner.options(priority="high", owner="ann")
        await urgent.options(owner="bob").enqueue(1)
        await owner.enqueue(2)
        [info] = await app.queues()
        assert info.waiting == {"high": 1, "normal": 1, "low": 0}
        async with app.worker():
            assert await (await urgent.enqueue(3)).result(timeout=10) == "ann 3"


async def test_outside_of_a_task_there_is_no_context() -> None:
    with pytest.raises(CastworkError, match="inside of a running task"):
        current()
