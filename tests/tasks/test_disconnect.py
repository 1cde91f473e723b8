"""Tasks that are cancelled when the last of those who follow them has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import redis

from castwork import App, StreamFunction, Task, TaskCancelled, TaskState, current
from castwork.model.errors import DefinitionError
from castwork.store.watches import Watches

#: Seconds; one that no busy machine sleeps through.
LEASE = 1.0


def declare(app: App) -> StreamFunction[[int], str, str]:
    """A stream that goes on until its output has so many chunks, or until it is cancelled."""

    @app.task(queue="q", timeout=None)
    async def tokens(count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield str(number)
            await asyncio.sleep(0.02)

    store = tokens.store
    store.watches.lease = store.twin.watches.lease = LEASE
    return tokens


async def test_the_task_is_cancelled_a_lease_after_the_last_reader_has_left(app: App) -> None:
    tokens = declare(app)
    async with app, app.worker():
        task = await tokens.options(cancel_on_disconnect=True).enqueue(10_000)
        ordinary = await tokens.enqueue(10_000)
        first, second = task.chunks(), app.get_task(task.id).chunks()
        async with aclosing(first) as one, aclosing(second) as two:  # type: ignore[type-var]
            await anext(one)
            await anext(two)
        assert tokens.store.watches._watchers == {}
        assert await ended(task) is TaskState.CANCELLED
        with pytest.raises(TaskCancelled, match="its last watcher has left"):
            await task.result(timeout=10)
        assert (await ordinary.status()).status is TaskState.RUNNING
        await ordinary.cancel(timeout=10)


async def ended(task: Task[Any]) -> TaskState:
    """The final state, looked at in a way that keeps no task wanted."""
    while True:
        status = (await task.status()).status
        if status.is_final:
            return status
        await asyncio.sleep(0.05)


async def test_who_follows_or_waits_keeps_the_task(app: App) -> None:
    tokens = declare(app)
    count = int(LEASE * 2.5 / 0.02)  # more than two leases

    async def slowly(task_id: str) -> int:
        taken = 0
        async for _ in app.get_task(task_id).chunks():
            taken += 1
            if taken == 1:
                await asyncio.sleep(LEASE * 2)  # it is connected, and takes nothing for a while
        return taken

    async with app, app.worker():
        watched = tokens.options(cancel_on_disconnect=True)
        read, waited, asked = [await watched.enqueue(count) for _ in range(3)]
        counts = await asyncio.gather(
            slowly(read.id), waited.result(timeout=30), app.get_task(asked.id).wait(timeout=30)
        )
    assert counts[0] == count
    assert counts[2].status is TaskState.SUCCEEDED
    assert tokens.store.watches._watchers == {}


async def test_a_task_that_nobody_ever_follows_has_one_lease(app: App) -> None:
    declare(app)
    reasons: list[str] = []

    @app.task(queue="q", timeout=None)
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(current().cancel_reason)

    async with app, app.worker():
        task = await hang.options(cancel_on_disconnect=True).enqueue()
        assert await ended(task) is TaskState.CANCELLED
    assert reasons == ["disconnect: its last watcher has left"]


async def test_a_reader_that_comes_back_in_time_keeps_the_task(app: App) -> None:
    tokens = declare(app)
    async with app, app.worker():
        count = int(LEASE * 2 / 0.02)
        task = await tokens.options(cancel_on_disconnect=True).enqueue(count)
        last = None
        for _ in range(4):
            async with aclosing(task.chunks(after=last)) as chunks:  # type: ignore[type-var]
                last = (await anext(chunks)).id
            await asyncio.sleep(LEASE / 3)
        assert len(await task.result(timeout=20)) > count


async def test_leases_are_the_servers(app: App, plain: redis.Redis, namespace: str) -> None:
    declare(app)
    watches = app.tasks.get("tokens").store.watches
    key = f"{{{namespace}:q}}:watched"
    async with app:
        assert await watches.unwatched(["a", "b"]) == set()
        assert plain.zcard(key) == 2
        plain.zadd(key, {"a": 1})
        assert await watches.unwatched(["a", "b"]) == {"a"}
        await watches.renew(["b"])
        assert plain.zrange(key, 0, -1) == [b"b"], "old leases go"
        await watches.renew(["a"])
        assert await watches.unwatched(["a", "b"]) == set()
        assert plain.pttl(key) > 0
        plain.delete(key)
        assert await watches.unwatched(["b"]) == set(), "a lost lease begins anew"


async def test_tasks_without_it_ask_the_server_nothing(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = declare(app)

    async def refuse(*_: object) -> None:
        raise AssertionError("the server is asked")

    monkeypatch.setattr(Watches, "renew", refuse)
    monkeypatch.setattr(Watches, "unwatched", refuse)
    async with app, app.worker():
        task = await tokens.enqueue(20)
        assert len([chunk async for chunk in task.chunks()]) == 20
        await task.result(timeout=10)


def test_it_is_so_or_not(app: App) -> None:
    tokens = declare(app)
    with pytest.raises(DefinitionError, match="cancel_on_disconnect is True or False"):
        tokens.options(cancel_on_disconnect="yes")  # type: ignore[arg-type]
