"""Batches: one call takes the items of several tasks, and each task has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from tests.eventually import eventually
from tests.worker.conftest import MakeRoles

from castwork import (
    App,
    Backoff,
    Batch,
    BatchFunction,
    Call,
    Discard,
    Retry,
    TaskFailed,
    TaskState,
    current,
)
from castwork.model.errors import CastworkError, DefinitionError
from castwork.testing import inline, run_task
from castwork.worker.attempt import Ending
from castwork.worker.queue_roles import QueueRoles

NOW = Backoff(base=0.01)


class Service:
    """A function that notes its calls, and waits for `go` in each."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, texts: list[str]) -> list[int]:
        self.calls.append(texts)
        await self.go.wait()
        if "poison" in texts:
            raise ValueError("poison")
        return [len(text) for text in texts]


@pytest.fixture
def service() -> Service:
    return Service()


def declare(app: App, service: Service, batch: Batch, **options: Any) -> BatchFunction[str, int]:
    @app.task(batch=batch, queue="embed", **options)
    async def embed(texts: list[str]) -> list[int]:
        return await service(texts)

    return embed


async def one_in_a_call(service: Service, make_roles: MakeRoles) -> QueueRoles:
    """The roles of a worker of one slot, which a call of one item has until `go`."""
    service.go.clear()
    roles = await make_roles(queue="embed", capacity=1)
    await roles.fetcher.claim(1)
    await eventually(lambda: service.calls)
    return roles


async def gather(roles: QueueRoles, count: int) -> None:
    """Claim so many tasks, which wait for a call then."""
    assert await roles.fetcher.claim(count) == count
    await eventually(lambda: all(attempt.begun for attempt in roles.workload.attempts))


async def test_a_call_takes_what_has_come_and_waits_for_nothing(
    app: App, service: Service, make_roles: MakeRoles
) -> None:
    embed = declare(app, service, Batch(max_size=16))
    first = await embed.enqueue("a")
    roles = await one_in_a_call(service, make_roles)
    others = await app.enqueue_many(embed.call("b" * n) for n in range(1, 41))
    await gather(roles, 31)
    assert roles.workload.free == 1, "two calls' worth are claimed"
    service.go.set()
    assert await first.result(timeout=10) == 1
    await gather(roles, 9)
    assert [await task.result(timeout=10) for task in others] == list(range(1, 41))
    assert service.calls[1] == ["b" * n for n in range(1, 17)], "the oldest first, as many as fit"
    assert service.calls[2][:15] == ["b" * n for n in range(17, 32)]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_call_has_one_slot(app: App, service: Service, concurrency: int) -> None:
    embed = declare(app, service, Batch(max_size=2))
    service.go.clear()
    async with app, app.worker(concurrency=concurrency):
        tasks = await embed.enqueue_many([str(n) for n in range(20)])
        await eventually(lambda: len(service.calls) == concurrency)
        service.go.set()
        for task in tasks:
            assert await task.result(timeout=10) in (1, 2)


async def test_an_exception_is_that_of_the_culprits_alone(
    app: App, service: Service, make_roles: MakeRoles
) -> None:
    embed = declare(app, service, Batch(max_size=8), attempts=1)
    await embed.enqueue("first")
    roles = await one_in_a_call(service, make_roles)
    texts = ["a", "b", "poison", "d", "e", "f", "poison", "h"]
    tasks = await embed.enqueue_many(texts)
    await gather(roles, 8)
    service.go.set()
    ends = [await task.wait(timeout=10) for task in tasks]
    assert [end.status for end in ends] == [
        TaskState.DEAD if text == "poison" else TaskState.SUCCEEDED for text in texts
    ]
    assert [end.attempts for end in ends] == [1] * 8
    assert service.calls[1] == texts
    assert len(service.calls) == 12, "halved down to the two culprits"


async def test_results_may_be_exceptions_of_single_items(app: App) -> None:
    @app.task(batch=Batch(), attempts=3, backoff=NOW)
    async def embed(texts: list[str]) -> list[int | Exception]:
        return [Discard("no") if text == "no" else len(text) for text in texts]

    async with app, app.worker():
        good, bad = await embed.enqueue("yes"), await embed.enqueue("no")
        assert await good.result(timeout=10) == 3
        with pytest.raises(TaskFailed, match="no"):
            await bad.result(timeout=10)


async def test_a_signal_is_for_all_items_and_is_not_halved(app: App) -> None:
    calls: list[int] = []

    @app.task(batch=Batch(), attempts=2, queue="q")
    async def embed(texts: list[str]) -> list[int]:
        calls.append(len(texts))
        if len(calls) == 1:
            raise Retry("busy", after=0.01)
        return [1] * len(texts)

    async with app:
        tasks = await embed.enqueue_many(["a", "b", "c", "d"])
        async with app.worker(scheduler_interval=0.02):
            for task in tasks:
                assert await task.result(timeout=10) == 1
    assert calls[0] == 4
    assert sum(calls[1:]) == 4


async def test_a_wrong_number_of_results_kills_all_at_once(app: App) -> None:
    @app.task(batch=Batch())
    async def embed(texts: list[str]) -> list[int]:
        return [1, 2, 3, 4, 5]

    async with app, app.worker():
        end = await (await embed.enqueue("a")).wait(timeout=10)
    assert end.status is TaskState.DEAD
    assert end.error is not None and "5 for 1 items" in end.error.message


class _Untold(StopIteration):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _Shorter(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


async def _cancels_itself(texts: list[str]) -> list[Any]:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return texts


async def _gives_untold_exceptions(texts: list[str]) -> list[Any]:
    return [_Untold() for _ in texts]


async def _gives_a_list_of_another_length_than_it_tells(texts: list[str]) -> list[Any]:
    return _Shorter(texts)


@pytest.mark.parametrize(
    "code",
    [
        _cancels_itself,
        _gives_untold_exceptions,
        _gives_a_list_of_another_length_than_it_tells,
    ],
)
async def test_however_a_call_ends_each_of_its_tasks_has_an_end(
    app: App, code: Callable[[list[str]], Awaitable[list[Any]]]
) -> None:
    @app.task(batch=Batch(), attempts=1)
    async def embed(texts: list[str]) -> list[Any]:
        return await code(texts)

    async with app, app.worker():
        tasks = await embed.enqueue_many(["a", "b"])
        assert [(await task.wait(timeout=5)).status for task in tasks] == [TaskState.DEAD] * 2


async def test_items_that_may_not_share_a_call_do_not(
    app: App, service: Service, make_roles: MakeRoles
) -> None:
    batch = Batch(max_size=10, max_cost=20, cost=len, same=lambda text: text[0])
    embed = declare(app, service, batch)
    await embed.enqueue("first")
    roles = await one_in_a_call(service, make_roles)
    tasks = await embed.enqueue_many(["a1", "b1", "a" * 6, "a" * 30, "b2", "a2"])
    await gather(roles, 6)
    service.go.set()
    for task in tasks:
        await task.result(timeout=10)
    assert service.calls[1:] == [["a1", "a" * 6, "a2"], ["b1", "b2"], ["a" * 30]]


async def test_items_that_cannot_be_compared_or_counted_keep_no_other_from_its_call(
    app: App, service: Service, make_roles: MakeRoles
) -> None:
    class Odd:
        def __ne__(self, other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

    costs: dict[str, Any] = {"uncounted": "many"}
    batch = Batch(
        max_size=10,
        max_cost=1000,
        cost=lambda text: costs.get(text, 1),
        same=lambda text: Odd() if text == "odd" else 0,
    )
    embed = declare(app, service, batch, attempts=1)
    await embed.enqueue("first")
    roles = await one_in_a_call(service, make_roles)
    tasks = await embed.enqueue_many(["odd", "a", "uncounted", "odd", "b"])
    await gather(roles, 5)
    service.go.set()
    ends = [await task.wait(timeout=10) for task in tasks]
    assert [end.status is TaskState.SUCCEEDED for end in ends] == [True, True, False, True, True]
    assert service.calls[1:] == [["odd"], ["a", "b"], ["odd"]]


async def test_a_cancelled_item_leaves_and_the_others_go_on(
    app: App, service: Service, make_roles: MakeRoles
) -> None:
    embed = declare(app, service, Batch())
    two = await embed.enqueue("22")
    roles = await one_in_a_call(service, make_roles)
    waiting, other = await embed.enqueue_many(["333", "4444"])
    await gather(roles, 2)
    attempt = roles.workload.find(waiting.id)
    assert attempt is not None
    attempt.end(Ending.CANCEL)
    assert (await waiting.wait(timeout=10)).status is TaskState.CANCELLED
    service.go.set()
    assert await two.result(timeout=10) == 2
    assert await other.result(timeout=10) == 4
    assert service.calls == [["22"], ["4444"]]


async def test_a_cancelled_item_of_a_call_leaves_its_result(
    app: App, service: Service, make_roles: MakeRoles
) -> None:
    embed = declare(app, service, Batch())
    service.go.clear()
    async with app, app.worker(concurrency=1):
        one, two = await embed.enqueue_many(["1", "22"])
        await eventually(lambda: sum(map(len, service.calls)))
        assert await one.cancel("not me")
        service.go.set()
        assert await two.result(timeout=10) == 2
        assert (await one.status()).status is TaskState.CANCELLED


async def test_a_call_that_nobody_wants_any_more_is_ended(app: App) -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    @app.task(batch=Batch(), queue="embed")
    async def embed(texts: list[str]) -> list[int]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return []

    async with app, app.worker(concurrency=1):
        tasks = await embed.enqueue_many(["a", "b"])
        await asyncio.wait_for(begun.wait(), 10)
        for task in tasks:
            assert await task.cancel()
        await asyncio.wait_for(ended.wait(), 10)


async def test_the_timeout_is_for_the_call_and_not_for_the_wait(app: App, service: Service) -> None:
    embed = declare(app, service, Batch(max_size=1), timeout=0.3, attempts=1)
    service.go.clear()
    async with app, app.worker(concurrency=1):
        first, second, third = await embed.enqueue_many(["a", "b", "c"])
        await eventually(lambda: len(service.calls) == 2)  # the first has taken too long
        service.go.set()
        assert (await first.wait(timeout=10)).status is TaskState.DEAD
        assert await second.result(timeout=10) == 1
        assert await third.result(timeout=10) == 1


async def test_a_worker_that_stops_hands_back_uncounted_what_waits(
    app: App, service: Service
) -> None:
    embed = declare(app, service, Batch(max_size=1))
    service.go.clear()
    async with app:
        async with app.worker(concurrency=1, grace=0.05):
            tasks = await embed.enqueue_many(["a", "b"])
            await eventually(lambda: service.calls)
        assert [(await task.status()).status for task in tasks] == [TaskState.QUEUED] * 2
        assert (await tasks[1].status()).attempts == 0
        service.go.set()
        async with app.worker(concurrency=1):
            for task in tasks:
                assert await task.result(timeout=10) == 1


async def test_a_call_ends_before_the_resources_of_its_worker_do(app: App) -> None:
    begun, steps = asyncio.Event(), []

    @app.resource
    async def model() -> AsyncIterator[str]:
        yield "model"
        steps.append("closed")

    @app.task(batch=Batch())
    async def embed(texts: list[str]) -> list[int]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(200):  # as cleaning up takes some turns of the loop
                await asyncio.sleep(0.001)
            steps.append(f"ended with the {model.value}")
        return []

    async with app, app.worker(grace=0):
        await embed.enqueue("a")
        await begun.wait()
    assert steps == ["ended with the model", "closed"]


async def test_items_of_lost_workers_have_less_company_each_time(
    app: App, service: Service, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    embed = declare(app, service, Batch(max_size=16))
    await embed.enqueue_many([f"{n:02}" for n in range(16)])
    lane = app.tasks.stores()[0].place.keys.lanes[1]
    sizes: list[list[int]] = []
    for worker_id in ("alice-1-00000001", "bob-1-00000002"):
        roles = await make_roles(worker_id, queue="embed", capacity=20)
        service.calls.clear()
        service.go.clear()
        if worker_id.startswith("alice"):
            await roles.fetcher.claim(16)
        else:
            await roles.recovery.sweep()
            await roles.recovery.sweep()
        await eventually(lambda: sum(map(len, service.calls)) == 16)
        sizes.append([len(call) for call in service.calls])
        for one in plain.xpending_range(lane, "workers", "-", "+", 100):
            times = one["times_delivered"]
            plain.xclaim(
                lane,
                "workers",
                one["consumer"],
                0,
                [one["message_id"]],
                idle=60_000,
                retrycount=times,
                justid=True,
            )
    assert sizes[0] == [16]
    assert max(sizes[1]) <= 4
    service.go.set()


async def test_wrappers_see_one_call_with_the_list(app: App, service: Service) -> None:
    seen: list[Any] = []

    @app.around_task
    async def look(call: Call[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
        seen.append((call.function.name, dict(call.arguments)))
        return await proceed()

    embed = declare(app, service, Batch())
    async with app, app.worker():
        assert await (await embed.enqueue("four")).result(timeout=10) == 4
    assert seen == [("embed", {"texts": ["four"]})]


async def test_no_single_task_is_the_current_one(app: App) -> None:
    @app.task(batch=Batch())
    async def embed(texts: list[str]) -> list[str]:
        try:
            return [current().task_id for _ in texts]
        except CastworkError as error:
            return [str(error) for _ in texts]

    async with app, app.worker():
        assert "current()" in await (await embed.enqueue("a")).result(timeout=10)


async def test_a_batch_beside_other_functions_in_one_queue(app: App, service: Service) -> None:
    embed = declare(app, service, Batch(max_size=8))

    @app.task(queue="embed")
    async def other(number: int) -> int:
        return number

    async with app, app.worker(concurrency=2):
        tasks = await app.enqueue_many(
            other.call(n) if n % 2 else embed.call("x" * n) for n in range(60)
        )
        assert [await task.result(timeout=10) for task in tasks] == list(range(60))


async def test_a_batch_function_runs_here_inline_and_alone() -> None:
    app = App("redis://nowhere")
    embed = declare(app, Service(), Batch())
    assert await embed(["a", "bb"]) == [1, 2]
    outcome = await run_task(embed, "bb")
    assert outcome.result == 2
    with inline(app):
        assert await (await embed.enqueue("ccc")).result() == 3


_COSTS = [{"max_cost": most, "cost": len} for most in (0, -1.0, float("inf"), float("nan"), "5")]


def test_what_cannot_be_a_batch_function_is_refused() -> None:
    app = App("redis://nowhere")
    for function in (_plain, _two, _no_list, _no_list_back):
        with pytest.raises(DefinitionError, match="list"):
            app.task(batch=Batch())(function)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="returns its results"):
        app.task(batch=Batch(), keep_result=False)  # type: ignore[call-overload]
        app.task(batch=Batch(), keep_result=False)(_good)  # type: ignore[call-overload]
    for wrong in ({"max_size": 0}, {"max_size": 5000}, {"max_cost": 5}, {"cost": len}, *_COSTS):
        with pytest.raises(DefinitionError):
            Batch(**wrong)  # type: ignore[arg-type]
    remote = app.remote(batch=True, name="elsewhere")(_good)
    assert remote.signature.encode(("x",), {}) == b'{"texts":"x"}'


def _plain(texts: list[str]) -> list[int]:
    return []


async def _good(texts: list[str]) -> list[int]:
    return []


async def _two(texts: list[str], model: str) -> list[int]:
    return []


async def _no_list(text: str) -> list[int]:
    return []


async def _no_list_back(texts: list[str]) -> int:
    return 0


@given(
    costs=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    most=st.integers(1, 60),
    padded=st.booleans(),
)
def test_a_call_never_costs_too_much(costs: list[int], most: int, padded: bool) -> None:
    batch = Batch(max_cost=most, cost=float, padded=padded)
    fits = batch.fits(len(costs), sum(costs), max(costs))
    cost = len(costs) * max(costs) if padded else sum(costs)
    assert fits == (len(costs) == 1 or cost <= most)
