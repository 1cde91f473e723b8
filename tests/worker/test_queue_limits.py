"""Limits of queues: for the tasks of all functions together, beside those of functions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AtOnce, Batch, Call, Rate, TaskStatus, current
from castwork.model.errors import DefinitionError
from castwork.testing import running


class Together:
    """Counts how many tasks are inside of a block at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    async def stay(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.001)
        self.inside -= 1


@pytest.mark.parametrize("behind", [False, True])
async def test_a_limit_of_a_queue_is_for_all_its_functions(app: App, behind: bool) -> None:
    together = Together()
    if not behind:
        app.queue("q", limits=[AtOnce(2)])

    @app.task(queue="q")
    async def one() -> None:
        await together.stay()

    @app.task(queue="q", limits=[AtOnce(5)], serial_by=lambda call: "all")
    async def two() -> None:
        await together.stay()

    @app.task(queue="other")
    async def three() -> None:
        await together.stay()

    if behind:
        app.queue("q", limits=[AtOnce(2)])
    async with app, app.worker(), app.worker():
        calls = [function.call() for _ in range(10) for function in (one, two)]
        calls += [three.options(queue="q").call() for _ in range(10)]
        tasks = await app.enqueue_many(calls)
        for task in tasks:
            await task.result(timeout=20)
    assert together.most == 2


async def holds_back(app: App, count: int) -> bool:
    return (await app.queue("q").info()).held == count


async def test_a_rate_of_a_queue_by_tenant() -> None:
    app, begun = App(env=None), list[str]()
    tariffs = {"free": 1, "paid": 2}
    app.queue("q", limits=[Rate(lambda tenant: tariffs[tenant], per=3600, by="tenant")])

    @app.task(queue="q")
    async def one(tenant: str) -> None:
        """Its argument is called as a field, which is no matter for the queue."""
        begun.append(current().tenant)

    @app.task(queue="q")
    async def two() -> None:
        begun.append(current().tenant)

    async with running(app) as run:
        for tenant in ("free", "paid"):
            await one.options(tenant=tenant).enqueue("x")
            await two.options(tenant=tenant).enqueue()
            await two.options(tenant=tenant).enqueue()
        await eventually(lambda: len(begun) == 3)
        assert sorted(begun) == ["free", "paid", "paid"]
        await eventually(lambda: holds_back(app, 3))
        await run.advance(3600)
        await eventually(lambda: len(begun) == 5)


async def test_a_limit_of_a_queue_may_look_at_the_call(app: App) -> None:
    together = Together()
    app.queue("q", limits=[AtOnce(1, by=lambda call: call.function.name[0])])

    @app.task(queue="q")
    async def a1() -> None:
        await together.stay()

    @app.task(queue="q")
    async def a2() -> None:
        await together.stay()

    async with app, app.worker():
        for task in [await function.enqueue() for _ in range(5) for function in (a1, a2)]:
            await task.result(timeout=10)
    assert together.most == 1


async def test_who_is_told_an_end_is_not_held_up(app: App) -> None:
    """The task that calls the hooks is no work of the queue's own."""
    told = asyncio.Event()
    app.queue("q", limits=[AtOnce(1)])

    @app.task(queue="q")
    async def work(hold: bool) -> None:
        if hold:
            await told.wait()

    @work.on_end
    async def tell(status: TaskStatus) -> None:
        told.set()

    async with app, app.worker():
        await work.enqueue(hold=False)
        second = await work.enqueue(hold=True)
        await second.result(timeout=10)


async def test_a_queue_of_batches_has_limits(app: App) -> None:
    app.queue("q", limits=[AtOnce(3)])

    @app.task(queue="q", batch=Batch(max_size=10))
    async def embed(texts: list[str]) -> list[int]:
        return [len(texts)] * len(texts)

    async with app, app.worker():
        tasks = await embed.enqueue_many(["a"] * 12)
        assert max([await task.result(timeout=10) for task in tasks]) <= 3


async def test_a_queue_that_adopts_a_stream_has_limits(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    together, stream = Together(), f"{namespace}:orders"
    app.queue("orders", limits=[AtOnce(1, by=by_shop)])

    @app.task(stream=stream, queue="orders")
    async def bill(shop: str) -> None:
        await together.stay()

    async with app, app.worker():
        for _ in range(5):
            plain.xadd(stream, {"shop": "a"})
        await eventually(lambda: not plain.xlen(stream))
        await app.queue("orders").until_idle(timeout=10)
    assert together.most == 1


def by_shop(call: Call[Any]) -> str:
    return str(call.arguments["shop"])


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ([AtOnce(1, by="model")], "a queue's tasks are of several functions"),
        (AtOnce(1), "give a list"),
    ],
)
def test_a_limit_that_a_queue_cannot_have_is_refused(app: App, limits: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        app.queue("q", limits=limits)


@pytest.mark.parametrize("behind", [False, True])
def test_what_others_write_has_no_tenant(app: App, behind: bool) -> None:
    def adopt() -> None:
        @app.task(stream="orders", queue="q")
        async def bill(shop: str) -> None: ...

    def limit() -> None:
        app.queue("q", limits=[AtOnce(1, by="tenant")])

    first, second = (adopt, limit) if behind else (limit, adopt)
    first()
    said = "set its bounds before that" if behind else "entries that others write have no tenant"
    with pytest.raises(DefinitionError, match=said):
        second()


def test_the_limits_of_a_queue_are_said_once(app: App) -> None:
    queue = app.queue("q", limits=[AtOnce(1)])
    assert app.queue("q", limits=[AtOnce(1)]) is queue
    with pytest.raises(DefinitionError, match="has other bounds already"):
        app.queue("q", limits=[AtOnce(2)])
