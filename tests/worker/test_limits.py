"""Limits: how often tasks begin and how many run at once, over all workers, by key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import (
    App,
    AtOnce,
    Backoff,
    Batch,
    Call,
    QueueFull,
    Rate,
    Retry,
    Task,
    TaskDead,
    TaskState,
    current,
)
from castwork.model.errors import DefinitionError
from castwork.store.admissions import Admissions, Answer, Asked
from castwork.testing import inline, running

NOW = Backoff(base=0.001)
LATER = Backoff(base=3600.0)


class Room:
    """Where tasks are while they run: until they are let out by name."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most: Counter[str] = Counter()
        self.entered: list[str] = []
        self._out: dict[str, asyncio.Event] = {}

    async def stay(self, name: str, key: str = "") -> str:
        self.inside.append(key)
        self.most[key] = max(self.most[key], self.inside.count(key))
        self.entered.append(name)
        try:
            await self.out(name).wait()
        finally:
            self.inside.remove(key)
        return name

    def out(self, name: str) -> asyncio.Event:
        return self._out.setdefault(name, asyncio.Event())

    def let_out(self, *names: str) -> None:
        for name in names:
            self.out(name).set()


@pytest.fixture
def room() -> Room:
    return Room()


async def is_in(states: list[TaskState], *tasks: Task[Any]) -> bool:
    return [(await task.status()).status for task in tasks] == states


async def held(app: App, count: int, queue: str = "q") -> None:
    """Wait until so many tasks are held back, and no worker holds others that wait."""

    async def is_so() -> bool:
        info = await app.queue(queue).info()
        return info.held == count and not any(info.waiting.values())

    await eventually(is_so, what=f"{count} are held back")


# -- at once ----------------------------------------------------------------------------


async def test_so_many_run_at_once_over_all_workers(app: App) -> None:
    most = inside = 0

    @app.task(queue="q", limits=[AtOnce(3)])
    async def work(number: int) -> int:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return current().attempt

    async with app, app.worker(concurrency=10), app.worker(concurrency=10):
        tasks = await work.enqueue_many(list(range(100)))
        assert [await task.result(timeout=20) for task in tasks] == [1] * 100
    assert most == 3


async def test_what_is_held_back_has_no_slot_and_says_queued(app: App, room: Room) -> None:
    @app.task(queue="q", limits=[AtOnce(1, by="doc")])
    async def work(name: str, doc: str) -> str:
        return await room.stay(name, doc)

    async with app, app.worker(concurrency=2) as worker:
        first = await work.enqueue("a1", "a")
        others = [await work.enqueue(f"a{n}", "a") for n in range(2, 7)]
        other = await work.enqueue("b1", "b")
        await eventually(lambda: room.entered == ["a1", "b1"])
        await held(app, 5)
        running = [TaskState.RUNNING] * 2
        await eventually(lambda: is_in(running, first, other))
        assert await is_in([TaskState.QUEUED] * 5, *others)
        assert (await others[0].status()).attempts == 0
        info = await app.queue("q").info()
        assert (info.running, info.held, info.depth, info.scheduled) == (2, 5, 7, 0)
        room.let_out("a1", "b1", *(f"a{n}" for n in range(2, 7)))
        assert [await task.result(timeout=10) for task in others][-1] == "a6"
        assert room.entered == ["a1", "b1", "a2", "a3", "a4", "a5", "a6"], "the oldest first"
        assert [(await task.status()).attempts for task in others] == [1] * 5
        await eventually(lambda: sum(worker.describe().processed.values()) >= 7)
        assert worker.describe().processed == {"succeeded": 7}, "being held back is no outcome"
    assert room.most["a"] == 1


async def test_nothing_spins_while_a_limit_is_closed(
    own_url: str, room: Room, namespace: str
) -> None:
    app = App(own_url, namespace=namespace, env=None)

    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker(scheduler_interval=0.05):
        await work.enqueue_many(["first", "second", "third"])
        await held(app, 2)
        with redis.Redis.from_url(own_url) as client:
            before = client.info("commandstats")["cmdstat_xreadgroup"]["calls"]
            claimed = client.info("commandstats").get("cmdstat_xadd", {})
            for _ in range(5):
                await asyncio.sleep(0.05)
            after = client.info("commandstats")
            assert after["cmdstat_xreadgroup"]["calls"] - before <= 1
            assert after.get("cmdstat_xadd", {}).get("calls") == claimed.get("calls")
        room.let_out("first", "second", "third")
        await app.queue("q").until_idle(timeout=10)


async def test_a_waiting_task_can_be_cancelled_and_its_arguments_read(app: App, room: Room) -> None:
    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        first = await work.enqueue("first")
        await eventually(lambda: room.entered)
        second, third = await work.enqueue("second"), await work.enqueue("third")
        await held(app, 2)
        assert await second.cancel("not now", timeout=5)
        assert (await second.status()).status is TaskState.CANCELLED
        await held(app, 1)
        room.let_out("first", "third")
        assert await third.result(timeout=10) == "third"
        assert await first.result(timeout=10) == "first"
        assert room.entered == ["first", "third"]


async def test_a_purge_cancels_what_is_held_back(app: App, room: Room) -> None:
    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        await work.enqueue_many(["first", "second", "third"])
        await held(app, 2)
        assert await app.queue("q").purge() == 2
        room.let_out("first")
        await app.queue("q").until_idle(timeout=10)


async def test_a_task_that_waits_for_its_retry_has_no_place(app: App) -> None:
    order: list[str] = []

    @app.task(queue="q", limits=[AtOnce(1)], attempts=2)
    async def work(name: str) -> None:
        order.append(name)
        if name == "first" and current().attempt == 1:
            raise Retry(after=0.3)

    async with app, app.worker(scheduler_interval=0.05):
        tasks = [await work.enqueue(name) for name in ("first", "second")]
        for task in tasks:
            await task.result(timeout=10)
    assert order == ["first", "second", "first"]


async def test_a_woken_task_is_that_of_its_own_lane_again(
    app: App, room: Room, plain: redis.Redis, namespace: str
) -> None:
    @app.task(queue="q", limits=[AtOnce(1)], priority="low", attempts=2, backoff=LATER)
    async def work(name: str) -> str:
        if name == "second" and current().attempt == 1:
            raise ValueError
        return await room.stay(name)

    async with app, app.worker():
        await work.enqueue("first")
        await eventually(lambda: room.entered)
        second = await work.enqueue("second")
        await held(app, 1)
        room.let_out("first")
        parked = f"{{{namespace}:q}}:parked"
        await eventually(lambda: b'"lane":"low"' in (plain.hget(parked, second.id) or b""))
        assert (await second.status()).status is TaskState.SCHEDULED


async def test_a_worker_that_is_lost_keeps_its_places_for_one_lease(room: Room) -> None:
    app = App(env=None)

    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with running(app) as run:
        first = await work.enqueue("first")
        await eventually(lambda: room.entered)
        second = await work.enqueue("second")
        await held(app, 1)
        await run.lose_worker()
        await eventually(lambda: not room.inside)
        assert room.entered == ["first"]
        room.let_out("first", "second")
        await run.advance(15)
        assert await first.result(timeout=15) == "first"
        assert await second.result(timeout=15) == "second"
        assert sorted(room.entered) == ["first", "first", "second"]


async def test_the_depth_of_a_bounded_queue_counts_what_is_held_back(app: App, room: Room) -> None:
    app.queue("q", max_depth=4)

    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        for name in "abcd":
            await work.enqueue(name)
        await held(app, 3)
        with pytest.raises(QueueFull):
            await work.enqueue("e")
        with pytest.raises(QueueFull):
            await work.options(key="e").enqueue("e")
        room.let_out(*"abcd")
        await app.queue("q").until_idle(timeout=10)


async def test_a_key_that_replaces_reaches_a_task_that_is_held_back(app: App, room: Room) -> None:
    @app.task(
        queue="q",
        limits=[AtOnce(1)],
        key_by="doc",
        key_until="started",
        key_taken="replace",
    )
    async def work(name: str, doc: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        await work.enqueue("first", "a")
        await eventually(lambda: room.entered)
        second = await work.enqueue("old", "b")
        await held(app, 1)
        again = await work.enqueue("new", "b")
        assert again.id == second.id
        room.let_out("first", "new")
        assert await second.result(timeout=10) == "new"


async def test_a_deadline_ends_a_task_that_is_held_back(app: App, room: Room) -> None:
    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker(scheduler_interval=0.05):
        await work.enqueue("first")
        await eventually(lambda: room.entered)
        late = await work.options(deadline=0.3).enqueue("late")
        await held(app, 1)
        assert (await late.wait(timeout=10)).status is TaskState.EXPIRED
        assert room.entered == ["first"]
        room.let_out("first")


# -- rates ------------------------------------------------------------------------------


async def test_a_rate_lets_a_burst_begin_and_then_one_at_a_time() -> None:
    app, begun = App(env=None), list[int]()

    @app.task(queue="q", limits=[Rate(2, per=3600)], result_ttl=86_400)
    async def work(number: int) -> None:
        begun.append(number)

    async with running(app) as run:
        tasks = [await work.enqueue(number) for number in range(5)]
        await held(app, 3)
        assert begun == [0, 1]
        for count in (3, 4):
            await run.advance(1800)
            await eventually(lambda: len(begun) == count)  # noqa: B023
            await held(app, 5 - count)
        await run.advance(3600)
        await tasks[-1].result(timeout=10)
        assert begun == [0, 1, 2, 3, 4], "the oldest first"
        assert [(await task.status()).attempts for task in tasks] == [1] * 5


async def test_an_even_pace_has_a_burst_of_one() -> None:
    app, begun = App(env=None), list[int]()

    @app.task(queue="q", limits=[Rate(60, per=3600, burst=1)])
    async def work(number: int) -> None:
        begun.append(number)

    async with running(app) as run:
        await work.enqueue_many([0, 1, 2])
        await held(app, 2)
        await run.advance(60)
        await eventually(lambda: begun == [0, 1])
        await held(app, 1)


async def test_each_attempt_counts_for_a_rate() -> None:
    app, begun = App(env=None), list[int]()

    @app.task(queue="q", limits=[Rate(2, per=3600)], attempts=3, backoff=NOW)
    async def work() -> None:
        begun.append(current().attempt)
        raise ValueError

    async with running(app) as run:
        task = await work.enqueue()
        await held(app, 1)
        assert begun == [1, 2]
        await run.advance(1800)
        assert (await task.wait(timeout=10)).status is TaskState.DEAD
        assert begun == [1, 2, 3]


async def test_a_rate_wakes_by_itself(app: App) -> None:
    @app.task(queue="q", limits=[Rate(20, per=1, burst=1)])
    async def work(number: int) -> int:
        return number

    async with app, app.worker(), app.worker():
        tasks = [await work.enqueue(number) for number in range(10)]
        assert [await task.result(timeout=10) for task in tasks] == list(range(10))


# -- keys -------------------------------------------------------------------------------


def by_host(call: Call[Any]) -> str:
    return str(call.arguments["url"]).split("/")[2]


@pytest.mark.parametrize("by", ["tenant", "owner", "model", by_host])
async def test_a_limit_each_by_key(
    app: App, room: Room, by: str | Callable[[Call[Any]], str]
) -> None:
    @app.task(queue="q", limits=[AtOnce(1, by=by)])
    async def work(name: str, url: str = "http://a/1", model: str = "a") -> str:
        return await room.stay(name)

    async with app, app.worker():
        await work.options(tenant="a", owner="a").enqueue("a1")
        await work.options(tenant="a", owner="a").enqueue("a2")
        await work.options(tenant="b", owner="b").enqueue("b1", "http://b/1", "b")
        await held(app, 1)
        await eventually(lambda: sorted(room.entered) == ["a1", "b1"])
        room.let_out("a1", "a2", "b1")
        await app.queue("q").until_idle(timeout=10)


async def test_keys_of_any_text_are_kept_apart(app: App, room: Room) -> None:
    keys = ["", "a", "a\n", "a\nb", "#", "x" * 1000, "x" * 999 + "y", "ü", "\ud800"]

    @app.task(queue="q", limits=[AtOnce(1, by=lambda call: keys[call.arguments["number"]])])
    async def work(number: int) -> str:
        return await room.stay(str(number))

    async with app, app.worker():
        for number in range(len(keys)):
            await work.enqueue(number)
        await eventually(lambda: len(room.entered) == len(keys))
        await work.enqueue(3)
        await held(app, 1)
        room.let_out(*map(str, range(len(keys))))
        await app.queue("q").until_idle(timeout=10)


async def test_the_amount_may_depend_on_the_key_and_change(app: App, room: Room) -> None:
    tariffs = {"free": 1, "paid": 2, "gone": 0}

    @app.task(queue="q", limits=[AtOnce(lambda tenant: tariffs[tenant], by="tenant")])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        for tenant in tariffs:
            for number in range(3):
                await work.options(tenant=tenant).enqueue(f"{tenant}{number}")
        await held(app, 6)
        await eventually(lambda: sorted(room.entered) == ["free0", "paid0", "paid1"])
        tariffs["free"] = 3
        room.let_out("free0")
        await eventually(lambda: len(room.entered) == 5)
        tariffs["gone"] = 1
        await app.queue("q").purge()
        room.let_out("free1", "free2", "paid0", "paid1")
        await app.queue("q").until_idle(timeout=10)


async def test_a_key_that_a_function_has_closed_is_looked_at_again() -> None:
    app, amounts = App(env=None), [0]

    @app.task(queue="q", limits=[Rate(lambda _: amounts[0], per=1)])
    async def work() -> None:
        pass

    async with running(app) as run:
        task = await work.enqueue()
        await held(app, 1)
        amounts[0] = 10
        await run.advance(10)
        await task.result(timeout=10)


async def test_what_the_functions_of_a_limit_raise_ends_the_task(app: App) -> None:
    def raises(_: Any) -> str:
        raise KeyError("no such tariff")

    @app.task(queue="q", limits=[AtOnce(1, by=raises)])
    async def by() -> None: ...

    @app.task(queue="q", limits=[AtOnce(lambda _: "many")])  # type: ignore[arg-type,return-value]
    async def amount() -> None: ...

    async with app, app.worker():
        with pytest.raises(TaskDead, match="no such tariff"):
            await (await by.enqueue()).result(timeout=10)
        with pytest.raises(TaskDead, match="many"):
            await (await amount.enqueue()).result(timeout=10)


# -- several ----------------------------------------------------------------------------


async def test_several_limits_hold_together_and_nobody_starves(app: App) -> None:
    inside: Counter[str] = Counter()
    most: Counter[str] = Counter()

    @app.task(
        queue="q",
        limits=[AtOnce(3), AtOnce(2, by="model"), AtOnce(1, by="tenant")],
    )
    async def work(model: str) -> None:
        names = ["all", model, "of " + current().tenant]
        for name in names:
            inside[name] += 1
            most[name] = max(most[name], inside[name])
        await asyncio.sleep(0.001)
        for name in names:
            inside[name] -= 1

    async with app, app.worker(concurrency=8), app.worker(concurrency=8):
        tasks = [await work.options(tenant=f"t{n % 5}").enqueue(f"m{n % 3}") for n in range(60)]
        for task in tasks:
            await task.result(timeout=20)
        info = await app.queue("q").info()
        assert (info.held, info.depth) == (0, 0)
    assert all(most[name] == 1 for name in most if name.startswith("of "))
    assert max(most[f"m{n}"] for n in range(3)) <= 2
    assert most["all"] <= 3


async def test_the_tasks_of_one_tenant_that_wait_leave_the_common_limit_alone(
    app: App, room: Room
) -> None:
    @app.task(queue="q", limits=[AtOnce(2), AtOnce(1, by="tenant")])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        for number in range(4):
            await work.options(tenant="a").enqueue(f"a{number}")
        await held(app, 3)
        await work.options(tenant="b").enqueue("b")
        await eventually(lambda: room.entered == ["a0", "b"])
        room.let_out("a0", "a1", "a2", "a3", "b")
        await app.queue("q").until_idle(timeout=10)


# -- kinds of functions, queues ---------------------------------------------------------


async def test_plain_functions_streams_and_batches_have_limits(app: App) -> None:
    most = inside = 0

    def enter() -> None:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)

    @app.task(queue="q", limits=[AtOnce(1)])
    def plain() -> int:
        enter()
        nonlocal inside
        inside -= 1
        return 1

    @app.task(queue="q", limits=[AtOnce(1)])
    async def stream() -> AsyncIterator[str]:
        enter()
        yield "a"
        nonlocal inside
        inside -= 1

    @app.task(queue="batches", batch=Batch(), limits=[AtOnce(2)])
    async def batch(texts: list[str]) -> list[int]:
        return [len(texts)] * len(texts)

    async with app, app.worker():
        for _ in range(5):
            plains = [await plain.enqueue() for _ in range(3)]
            assert [await task.result(timeout=10) for task in plains] == [1] * 3
        streams = [await stream.enqueue() for _ in range(3)]
        assert [await task.result(timeout=10) for task in streams] == ["a"] * 3
        batches = await batch.enqueue_many(["a"] * 10)
        assert max([await task.result(timeout=10) for task in batches]) <= 2
    assert most == 1


@pytest.mark.parametrize("keep_entries", [False, True])
async def test_an_adopted_stream_has_limits(
    app: App, room: Room, plain: redis.Redis, namespace: str, keep_entries: bool
) -> None:
    stream = f"{namespace}:orders"

    @app.task(
        stream=stream, queue="orders", keep_entries=keep_entries, limits=[AtOnce(1, by="shop")]
    )
    async def bill(name: str, shop: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        for name in ("a1", "a2", "b1"):
            plain.xadd(stream, {"name": name, "shop": name[0]})
        await eventually(lambda: room.entered == ["a1", "b1"])
        await eventually(lambda: plain.xpending(stream, "workers")["pending"] == 2)
        assert plain.xlen(stream) == (3 if keep_entries else 2)
        info = await app.queue("orders").info()
        assert info.held == 1
        room.let_out("a1", "a2", "b1")
        await app.queue("orders").until_idle(timeout=10)
    assert room.entered == ["a1", "b1", "a2"]


async def test_a_limit_is_counted_per_queue(app: App, room: Room) -> None:
    app.queue("other")

    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app, app.worker():
        await work.enqueue("a")
        await work.options(queue="other").enqueue("b")
        await work.options(queue="other").enqueue("c")
        await eventually(lambda: sorted(room.entered) == ["a", "b"])
        await held(app, 1, "other")
        room.let_out("a", "b", "c")
        await app.queue("other").until_idle(timeout=10)


async def test_a_worker_that_stops_gives_its_places_back(app: App, room: Room) -> None:
    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    async with app:
        async with app.worker(grace=0.0):
            await work.enqueue("first")
            await eventually(lambda: room.entered)
            await work.enqueue("second")
            await held(app, 1)
        async with app.worker():
            await eventually(lambda: len(room.entered) == 2)
            room.let_out("first", "second")
            await app.queue("q").until_idle(timeout=10)


async def test_without_a_server_limits_are_left_aside(app: App) -> None:
    @app.task(limits=[Rate(1, per=3600), AtOnce(1)])
    async def work(number: int) -> int:
        return number

    with inline(app):
        for number in range(3):
            assert await (await work.enqueue(number)).result() == number


# -- declarations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AtOnce(0), "1 to 1,000,000"),
        (lambda: AtOnce(True), "1 to 1,000,000"),
        (lambda: AtOnce("4"), "1 to 1,000,000"),
        (lambda: Rate(1.5, per=1), "1 to 1,000,000"),
        (lambda: Rate(1, per=0), "per is 0"),
        (lambda: Rate(1, per="60"), "give seconds"),
        (lambda: Rate(1, per=1, burst=0), "burst is 0"),
        (lambda: AtOnce(1, by=7), "by is 7"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        make()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (AtOnce(4), "give a list"),
        ([4], "give a list"),
        ([AtOnce(4, by="modell")], "no argument is named 'modell'; there are: model"),
        ([AtOnce(4, by="owner")], "'owner' is an argument and a field"),
    ],
)
def test_limits_are_checked_where_they_are_declared(app: App, limits: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):

        @app.task(limits=limits)
        async def work(model: str, owner: str) -> None: ...


def test_what_others_write_has_no_tenant(app: App) -> None:
    with pytest.raises(DefinitionError, match="entries that others write have no tenant"):

        @app.task(stream="orders", limits=[AtOnce(4, by="tenant")])
        async def work(model: str) -> None: ...


async def test_a_cancel_that_comes_while_a_task_asks_for_its_place_is_kept(
    app: App, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(queue="q", limits=[AtOnce(1)])
    async def work(name: str) -> str:
        return await room.stay(name)

    enter = Admissions.enter
    asking: list[Task[str]] = []

    async def cancelled_meanwhile(
        admissions: Admissions, asked: Sequence[Asked]
    ) -> tuple[list[Answer], float | None]:
        answers, wait = await enter(admissions, asked)
        if Answer.CLOSED in answers and asking:
            await asking.pop().cancel(timeout=0)
            [queue] = worker._queues
            await eventually(lambda: any(one.ended_by for one in queue.workload.attempts))
        return answers, wait

    monkeypatch.setattr(Admissions, "enter", cancelled_meanwhile)
    async with app, app.worker() as worker:
        first = await work.enqueue("first")
        await eventually(lambda: room.entered == ["first"])
        await app.queue("q").pause()
        second = await work.enqueue("second")
        asking.append(second)
        await app.queue("q").resume()
        assert (await second.wait(timeout=10)).status is TaskState.CANCELLED
        room.let_out("first", "second")
        await first.result(timeout=10)
    assert room.entered == ["first"]
