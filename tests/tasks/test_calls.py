"""Calls that are not enqueued yet: with options of their own, one by one and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from castwork import App, Call, PartlyEnqueued, Proceed, QueueFull, TaskState, current
from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys
from castwork.tasks import many


async def test_a_call_is_enqueued_later_and_again(app: App) -> None:
    @app.task
    async def double(number: int) -> int:
        return 2 * number

    call = double.options(owner="ann", labels={"chat": "c1"}).call(number=4)
    assert (call.function.name, call.arguments, call.owner) == ("double", {"number": 4}, "ann")
    async with app, app.worker():
        tasks = [
            await call.enqueue(),
            await call.enqueue(),
            await asyncio.to_thread(call.enqueue_sync),
        ]
        assert [await task.result(timeout=10) for task in tasks] == [8, 8, 8]
    assert len({task.id for task in tasks}) == 3


async def test_calls_of_any_functions_queues_and_lanes_go_together(app: App) -> None:
    app.queue("urgent")

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    @app.task(queue="other")
    async def name() -> str:
        return f"{current().queue} {current().owner}"

    def calls() -> Iterator[Call[Any]]:
        for number in range(20):
            yield double.call(number)
            yield double.options(priority=("high", "low")[number % 2]).call(number)
            yield double.options(delay=0.01).call(number)
            yield double.options(queue="urgent", id=f"n{number}").call(number)
            yield name.options(owner="ann").call()

    async def drawn() -> AsyncIterator[Call[Any]]:
        for call in calls():
            yield call

    async with app, app.worker(scheduler_interval=0.02):
        for tasks in (
            await app.enqueue_many(calls()),
            await app.enqueue_many(drawn()),
            await asyncio.to_thread(app.enqueue_many_sync, calls()),
        ):
            results = [await task.result(timeout=10) for task in tasks]
            expected = [[2 * n, 2 * n, 2 * n, 2 * n, "other ann"] for n in range(20)]
            assert results == [one for some in expected for one in some]
            assert [task.queue for task in tasks[:5]] == [
                *("default", "default", "default", "urgent", "other")
            ]
    assert await app.enqueue_many([]) == []


async def test_more_calls_than_are_drawn_at_once_are_sent_as_they_come(app: App) -> None:
    @app.task
    async def work(number: int) -> None: ...

    async with app:
        tasks = await app.enqueue_many(work.call(number) for number in range(9000))
        [info] = await app.queues()
    assert info.depth == len({task.id for task in tasks}) == 9000


async def test_what_was_accepted_is_known_when_a_queue_is_full(app: App) -> None:
    app.queue("small", max_depth=3)

    @app.task(queue="small")
    async def small() -> None: ...

    @app.task
    async def free() -> None: ...

    async with app:
        with pytest.raises(PartlyEnqueued) as caught:
            await app.enqueue_many([free.call(), *[small.call()] * 5])
        assert isinstance(caught.value.__cause__, QueueFull)
        accepted = [task is not None for task in caught.value.tasks]
        assert accepted == [True, False, False, False, False, False]
        with pytest.raises(QueueFull):
            await app.enqueue_many([small.call()] * 5)


@pytest.mark.parametrize("way", ["iterable", "async", "twin"])
async def test_what_was_accepted_is_known_when_the_iterable_breaks(
    app: App, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(many, "_DRAWN", 10)

    @app.task
    async def work(number: int) -> None: ...

    def calls(count: int) -> Iterator[Call[None]]:
        yield from (work.call(number) for number in range(count))
        raise ZeroDivisionError("of the iterable")

    async def drawn(count: int) -> AsyncIterator[Call[None]]:
        for one in calls(count):
            yield one

    async def send(count: int) -> None:
        if way == "twin":
            await asyncio.to_thread(app.enqueue_many_sync, calls(count))
        else:
            await app.enqueue_many(drawn(count) if way == "async" else calls(count))

    async with app:
        with pytest.raises(PartlyEnqueued) as caught:
            await send(25)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert [task is not None for task in caught.value.tasks] == [True] * 20 + [False] * 5
        with pytest.raises(ZeroDivisionError):
            await send(5)
        [info] = await app.queues()
    assert info.depth == 20


async def test_what_is_no_call_is_refused(app: App) -> None:
    async with app:
        with pytest.raises(InvalidArguments, match="7 is no call"):
            await app.enqueue_many([7])  # type: ignore[list-item]


async def test_a_call_goes_to_another_queue(app: App) -> None:
    app.queue("gpu", concurrency=1)

    @app.task
    async def where() -> str:
        return current().queue

    with pytest.raises(DefinitionError, match=r"no queue is named 'gpo'; there are: default, gpu"):
        where.options(queue="gpo")
    elsewhere = where.options(queue="gpu")
    async with app, app.worker():
        task = await elsewhere.enqueue()
        assert (task.queue, await task.result(timeout=10)) == ("gpu", "gpu")
        assert await (await elsewhere.options(queue="default").enqueue()).result(timeout=10) == (
            "default"
        )
        assert await app.get_task(task.id).result(timeout=10) == "gpu"


async def test_a_call_waits_for_its_time_by_the_clock(app: App) -> None:
    @app.task
    async def work() -> int:
        return 1

    now = datetime.now(UTC)
    with pytest.raises(DefinitionError, match="time zone"):
        work.options(at=datetime(2030, 1, 1))
    with pytest.raises(DefinitionError, match="one time"):
        work.options(at=now, delay=1)
    async with app, app.worker(scheduler_interval=0.02):
        later = await work.options(at=now + timedelta(hours=1)).enqueue()
        assert (await later.status()).status is TaskState.SCHEDULED
        assert await (await work.options(at=now - timedelta(hours=1)).enqueue()).result(10) == 1
        late = await work.options(deadline=now - timedelta(seconds=1), delay=0.01).enqueue()
        assert (await late.wait(timeout=10)).status is TaskState.EXPIRED
        assert (
            await (await work.options(deadline=now + timedelta(hours=1)).enqueue()).result(10) == 1
        )


async def test_what_a_function_says_holds_for_calls_that_say_nothing_else(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    @app.task(queue="q", priority="low", deadline=60, result_ttl=600)
    async def work() -> float | None:
        return current().time_left

    async with app:
        await work.enqueue()
        await work.options(priority="high").enqueue()
        [info] = await app.queues()
        assert info.waiting == {"high": 1, "normal": 0, "low": 1}
        async with app.worker():
            kept = await work.options(result_ttl=7200).enqueue()
            left = await kept.result(timeout=10)
            assert left is not None
            assert 0 < left <= 60
        keys = QueueKeys.of(namespace, Queue("q"))
        assert 3600 < plain.ttl(keys.record(kept.id)) <= 7200


async def test_a_result_that_is_not_kept_is_waited_for(app: App) -> None:
    @app.task(keep_result=False)
    async def work(fails: bool) -> int:
        if fails:
            raise ValueError("no")
        return 7

    @app.task(keep_result=False)
    async def spell() -> AsyncIterator[str]:
        yield "a"

    async with app, app.worker():
        assert await (await work.enqueue(False)).result(timeout=10) is None
        task = await spell.enqueue()
        assert await task.result(timeout=10) is None
        assert [item async for item in task.items()] == ["a"]
        assert await work(False) == 7


async def test_a_wrapper_says_whose_task_it_is(app: App) -> None:
    seen: list[Any] = []

    @app.task
    async def whose(number: int, times: int = 2) -> str:
        context = current()
        return f"{context.owner} {context.labels} {context.headers}"

    @app.around_enqueue
    async def stamp(call: Call[Any], proceed: Proceed) -> Any:
        call.owner = call.owner or "nobody"
        call.headers["trace"] = "t1"
        return await proceed()

    @app.around_task
    async def look(call: Call[Any], proceed: Proceed) -> Any:
        seen.append((call.function.name, call.arguments, call.headers))
        return await proceed()

    async with app, app.worker():
        tasks = [
            await whose.enqueue(1),
            await whose.options(owner="ann", labels={"a": "b"}).enqueue(2),
            *(await app.enqueue_many([whose.call(3)])),
            *(await whose.enqueue_many([4])),
        ]
        assert [await task.result(timeout=10) for task in tasks] == [
            "nobody {} {'trace': 't1'}",
            "ann {'a': 'b'} {'trace': 't1'}",
            "nobody {} {'trace': 't1'}",
            "nobody {} {'trace': 't1'}",
        ]
    assert sorted(seen, key=lambda one: one[1]["number"]) == [
        ("whose", {"number": number, "times": 2}, {"trace": "t1"}) for number in (1, 2, 3, 4)
    ]


async def test_a_wrapper_that_does_not_proceed_must_raise(app: App) -> None:
    @app.task
    async def work() -> None: ...

    @app.around_enqueue
    async def swallow(call: Call[Any], proceed: Proceed) -> Any:
        return None

    with pytest.raises(DefinitionError, match="make it async"):
        app.around_enqueue(lambda call, proceed: None)  # type: ignore[arg-type, return-value]
    async with app:
        with pytest.raises(DefinitionError, match="has not called proceed"):
            await work.enqueue()
