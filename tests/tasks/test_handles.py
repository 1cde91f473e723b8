"""Handles: a task again, a task forgotten, and tasks that are another owner's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from castwork import App, NotEnded, TaskDead, TaskNotFound, current
from castwork.model.errors import DefinitionError


async def test_a_dead_task_is_enqueued_again_as_it_was(app: App) -> None:
    seen: list[Any] = []

    @app.task(attempts=1, priority="high")
    async def fails(doc: str) -> None:
        context = current()
        seen.append((doc, context.owner, dict(context.labels), dict(context.headers)))
        raise ValueError

    async with app.worker():
        call = fails.options(owner="ada", labels={"chat": "c1"}, headers={"trace": "7"})
        task = await call.enqueue("a.pdf")
        with pytest.raises(TaskDead):
            await task.result(timeout=20)
        other = await task.again()
        assert other.created
        assert other.id != task.id
        with pytest.raises(TaskDead):
            await other.result(timeout=20)
    assert seen == [("a.pdf", "ada", {"chat": "c1"}, {"trace": "7"})] * 2


@pytest.mark.parametrize("delay", [0, 1000])
async def test_a_waiting_task_is_enqueued_again(app: App, delay: int) -> None:
    @app.task
    async def work(number: int) -> int:
        return number

    async with app:
        task = await work.options(delay=delay, priority="low").enqueue(5)
        other = await asyncio.to_thread(task.again_sync)
        assert await other.arguments() == {"number": 5}
        async with app.worker():
            assert await other.result(timeout=20) == 5


async def test_a_task_whose_arguments_are_gone_is_not_enqueued_again(app: App) -> None:
    @app.task
    async def work() -> None: ...

    @app.task(stream="orders")
    async def bill(order: str) -> None: ...

    async with app.worker(["default"]):
        task = await work.enqueue()
        await task.result(timeout=20)
        with pytest.raises(TaskNotFound, match="arguments"):
            await task.again()
        with pytest.raises(DefinitionError, match="other programs write"):
            await bill.task("orders:1-1").again()


async def test_what_is_kept_of_an_ended_task_goes(app: App, plain: redis.Redis) -> None:
    @app.task
    async def infer() -> AsyncIterator[str]:
        yield "a"

    async with app.worker():
        task = await infer.options(id="run-7").enqueue()
        assert await task.result(timeout=20) == "a"
        assert list(plain.scan_iter(f"*{task.id}*"))
        await task.forget()
        assert not list(plain.scan_iter(f"*{task.id}*"))
        with pytest.raises(TaskNotFound):
            await task.status()
        again = await infer.options(id="run-7").enqueue()
        assert again.created, "its own id is free"
        await again.result(timeout=20)
        await asyncio.to_thread(again.forget_sync)
        await again.forget()


async def test_a_dead_task_is_forgotten_with_its_letter(app: App) -> None:
    @app.task(attempts=1)
    async def fails() -> None:
        raise ValueError

    async with app.worker():
        task = await fails.enqueue()
        with pytest.raises(TaskDead):
            await task.result(timeout=20)
        await task.forget()
        assert await app.queue("default").dead_letters.list() == []
        with pytest.raises(TaskNotFound):
            await task.status()


async def test_a_task_that_has_not_ended_is_not_forgotten(app: App) -> None:
    @app.task
    async def work() -> int:
        return 3

    async with app:
        parked = await work.options(delay=1000).enqueue()
        with pytest.raises(NotEnded, match="cancel it first"):
            await parked.forget()
        queued = await work.enqueue()
        with pytest.raises(NotEnded):
            await queued.forget()
        async with app.worker():
            assert await queued.result(timeout=20) == 3


async def test_to_an_owner_the_tasks_of_others_do_not_exist(app: App) -> None:
    @app.task
    async def infer() -> AsyncIterator[str]:
        yield "a"

    async with app:
        hers, nobodys = await infer.options(owner="ada").enqueue(), await infer.enqueue()
        parked = await infer.options(owner="ada", delay=1000).enqueue()
        for task in (hers, parked):
            assert (await app.get_task(task.id, owner="ada").status()).owner == "ada"
        for task_id, owner in ((hers.id, "bob"), (nobodys.id, "ada"), (parked.id, "bob")):
            other = app.get_task(task_id, owner=owner)
            for ask in (other.status, other.result, other.wait, other.cancel, other.arguments):
                with pytest.raises(TaskNotFound):
                    await ask()
            for change in (other.again, other.forget):
                with pytest.raises(TaskNotFound):
                    await change()
            with pytest.raises(TaskNotFound):
                await anext(aiter(other.chunks()))
            with pytest.raises(TaskNotFound):
                await asyncio.to_thread(other.status_sync)
        async with app.worker():
            assert await app.get_task(hers.id, owner="ada").result(timeout=20) == "a"
            assert await asyncio.to_thread(app.get_task(hers.id, owner="ada").result_sync) == "a"
        assert (await app.get_task(hers.id, owner="ada").status()).owner == "ada"
        assert len([chunk async for chunk in app.get_task(hers.id, owner="ada").chunks()]) == 1
