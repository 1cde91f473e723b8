"""Flows: steps that wait for others, fail with them, and take their results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import (
    App,
    Call,
    Each,
    QueueFull,
    Task,
    TaskCancelled,
    TaskDead,
    TaskFailed,
    TaskState,
    TaskStatus,
    all_of,
    current,
)
from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.tasks.function import TaskFunction
from castwork.testing import inline


class Program:
    """Task functions in two queues."""

    def __init__(self, app: App) -> None:
        self.seen: list[Any] = []
        self.go = asyncio.Event()
        self.go.set()

        @app.task(attempts=1)
        async def split(text: str) -> list[str]:
            await self.go.wait()
            self.seen.append(("split", text))
            if text == "bad":
                raise ValueError("no text")
            return text.split()

        @app.task(queue="gpu", attempts=1)
        async def embed(word: str, times: int = 1) -> int:
            self.seen.append(("embed", word))
            if word == "bad":
                raise ValueError("no word")
            return len(word) * times

        @app.task(queue="db")
        async def store(values: list[int | None], table: str = "t") -> str:
            return f"{table}:{values}"

        @app.task
        async def upper(text: str, ending: str) -> str:
            return text.upper() + ending

        self.split, self.embed, self.store, self.upper = split, embed, store, upper


@pytest.fixture
def program(app: App) -> Program:
    return Program(app)


async def test_a_step_takes_the_result_of_the_one_before(app: App, program: Program) -> None:
    @app.task
    async def join(words: list[str], by: str) -> str:
        return by.join(words)

    flow = program.split.call("a bc").then(join, "-").then(program.upper, ending="!")
    async with app.worker():
        task = await flow.enqueue()
        assert await task.result(timeout=20) == "A-BC!"
        assert (await task.status()).attempts == 1


async def test_steps_wait_as_scheduled_and_queues_may_differ(app: App, program: Program) -> None:
    flow = program.embed.call("abc").then(double_of(app).options(queue="db"))
    async with app:
        task = await flow.enqueue()
        assert (await task.status()).status is TaskState.SCHEDULED
        assert task.queue == "db"


async def test_each_item_has_a_task_and_the_list_keeps_their_order(
    app: App, program: Program, plain: redis.Redis, namespace: str
) -> None:
    flow = program.split.call("a bb ccc").then_each(program.embed, times=2).then(program.store, "x")
    async with app.worker():
        task = await flow.enqueue()
        assert await task.result(timeout=20) == "x:[2, 4, 6]"
        await eventually(lambda: not list(plain.scan_iter(f"*{namespace}*:arrived:*")))


async def test_nothing_to_do_is_an_empty_list(app: App, program: Program) -> None:
    flow = program.split.call("").then_each(program.embed).then(program.store)
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=20) == "t:[]"


async def test_many_side_by_side(app: App, program: Program) -> None:
    calls = [program.embed.call("x" * number) for number in range(300)]
    async with app.worker():
        task = await all_of(calls).then(program.store).enqueue()
        assert await task.result(timeout=30) == f"t:{list(range(300))}"


async def test_flows_side_by_side(app: App, program: Program) -> None:
    @app.task
    async def both(pair: tuple[str, int], more: int) -> str:
        return f"{pair[0]} {pair[1]} {more}"

    one = program.split.call("a b").then_each(program.embed).then(program.store)
    flow = all_of(one, program.embed.call("four")).then(both, 5)
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=20) == "t:[1, 1] 4 5"


async def test_a_step_that_fails_fails_all_behind_it(app: App, program: Program) -> None:
    flow = program.split.call("bad").then_each(program.embed).then(program.store)
    async with app.worker():
        task = await flow.then(program.upper, "!").enqueue()
        with pytest.raises(TaskFailed, match=r"step split .* is dead: ValueError: no text"):
            await task.result(timeout=20)


async def test_one_of_many_that_fails_fails_what_follows(app: App, program: Program) -> None:
    flow = program.split.call("a bad b").then_each(program.embed).then(program.store)
    async with app.worker():
        with pytest.raises(TaskFailed, match="no word"):
            await (await flow.enqueue()).result(timeout=20)


@pytest.mark.parametrize("kind", ["each", "all"])
async def test_keep_going_gives_none_in_place_of_what_failed(
    app: App, program: Program, kind: str
) -> None:
    steps: Each[int]
    if kind == "each":
        steps = program.split.call("a bad bb").then_each(program.embed)
    else:
        steps = all_of(program.embed.call(word) for word in ("a", "bad", "bb"))
    async with app.worker():
        task = await steps.keep_going().then(program.store).enqueue()
        assert await task.result(timeout=20) == "t:[1, None, 2]"


async def test_a_cancel_of_the_last_cancels_what_has_not_run(app: App, program: Program) -> None:
    first = program.split.options(id="first").call("a")
    steps = first.then_each(program.embed)
    second = program.store.options(id="second")
    flow = steps.then(second).then(program.upper.options(queue="gpu"), "!")
    async with app, app.worker(["gpu"]):  # nobody serves the first step
        task = await flow.enqueue()
        assert await task.cancel()
        for one in (task, program.store.task(id="second"), program.split.task(id="first")):
            with pytest.raises(TaskCancelled):
                await one.result(timeout=20)
    assert program.seen == []


async def test_results_last_until_they_are_taken(
    app: App, program: Program, plain: redis.Redis, namespace: str
) -> None:
    def lives(*names: str) -> set[int]:
        return {plain.ttl(f"{{{namespace}:{name}}}:task:{name}:{name}-1") for name in names}

    slow = double_of(app).options(id="default-1").call(2)
    done = program.embed.options(id="gpu-1", result_ttl=60).call("abc")
    store = program.store.options(id="db-1", result_ttl=60)
    async with app:
        task = await all_of([done, slow]).then(store).enqueue()
        async with app.worker(["gpu"]):
            assert await program.embed.task(id="gpu-1").result(timeout=20) == 3
            assert lives("gpu") == {-1}, "the server may evict what has a ttl"
        async with app.worker():
            assert await task.result(timeout=20) == "t:[3, 4]"
            await eventually(lambda: all(3500 < one <= 3600 for one in lives("gpu", "default")))
            assert 0 < lives("db").pop() <= 60


async def test_items_of_a_flow_wait_for_room_in_their_queue(
    app: App, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castwork.tasks.end_hooks._LATER", 0.01)
    app.queue("gpu", max_depth=3)
    flow = program.split.call("a " * 40).then_each(program.embed).then(program.store)
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=30) == f"t:{[1] * 40}"


async def test_a_flow_that_finds_no_room_is_cancelled(
    app: App, program: Program, plain: redis.Redis, namespace: str
) -> None:
    app.queue("gpu", max_depth=3)
    store = program.store.options(id="last")
    async with app:
        with pytest.raises(QueueFull):
            await all_of(program.embed.call("a") for _ in range(5)).then(store).enqueue()
        last = program.store.task(id="last")
        assert (await last.status()).status is TaskState.CANCELLED
        async with app.worker(["db"]):  # its worker cancels those that were accepted
            await eventually(lambda: cancelled(plain, namespace) == 3)


async def test_a_cancel_reaches_the_items_that_have_not_run(
    app: App, program: Program, plain: redis.Redis, namespace: str
) -> None:
    flow = program.split.call("a b c d").then_each(program.embed).then(program.store)
    async with app, app.worker(["default", "db"]):  # nobody serves the items
        task = await flow.enqueue()
        await eventually(lambda: plain.hlen(f"{{{namespace}:gpu}}:moved") == 4)
        assert await task.cancel()
        await eventually(lambda: cancelled(plain, namespace) == 4)


async def is_running(task: Task[Any]) -> bool:
    return (await task.status()).status is TaskState.RUNNING


def cancelled(plain: redis.Redis, namespace: str) -> int:
    """How many tasks of one queue are cancelled."""
    records = [plain.get(key) for key in plain.scan_iter(f"{{{namespace}:gpu}}:task:*")]
    return sum(b'"status":"cancelled"' in record for record in records)


async def test_items_of_a_flow_that_was_cancelled_meanwhile_are_not_made(
    app: App, program: Program
) -> None:
    flow = program.split.options(id="first").call("a b").then_each(program.embed)
    program.go.clear()
    async with app.worker():
        task = await flow.then(program.store).enqueue()
        first = program.split.task(id="first")
        await eventually(lambda: is_running(first))
        assert await task.cancel()
        program.go.set()
        assert await first.result(timeout=20) == ["a", "b"]
        await app.queue("default").until_idle(timeout=20)
        await app.queue("gpu").until_idle(timeout=20)
    assert program.seen == [("split", "a b")]


async def test_a_step_that_was_enqueued_in_a_task_is_its_child(app: App, program: Program) -> None:
    @app.task
    async def parent() -> str:
        task = await program.embed.call("abc").then(whose).enqueue()
        return await task.result(timeout=20)

    @app.task
    async def whose(length: int) -> str:
        return f"{length} {current().owner}"

    async with app.worker():
        task = await parent.options(owner="ada").enqueue()
        assert await task.result(timeout=20) == "3 ada"


async def test_hooks_hear_of_the_ends_of_steps(app: App, program: Program) -> None:
    ended: list[str] = []

    @app.on_end
    async def hear(status: Any) -> None:
        ended.append(status.task)

    flow = program.embed.call("abc").then(double_of(app))
    async with app.worker():
        assert await (await flow.enqueue()).result(timeout=20) == 6
        await eventually(lambda: sorted(ended) == ["double", "embed"])


async def test_wrappers_are_called_around_each_step(app: App, program: Program) -> None:
    seen: list[str] = []

    @app.around_enqueue
    async def stamp(call: Call[Any], proceed: Callable[[], Any]) -> Any:
        seen.append(call.function.name)
        call.owner = "ada"
        return await proceed()

    async with app:
        task = await program.split.call("a").then(program.store).enqueue()
        assert sorted(seen) == ["split", "store"]
        assert (await task.status()).owner == "ada"


async def test_from_a_thread(app: App, program: Program) -> None:
    flow = program.embed.call("abcd").then(double_of(app))
    async with app.worker():
        task = await asyncio.to_thread(flow.enqueue_sync)
        assert await task.result(timeout=20) == 8


def double_of(app: App) -> TaskFunction[[int], int]:
    @app.task
    async def double(number: int) -> int:
        return number * 2

    return double


def test_what_cannot_be_a_flow_is_refused(app: App, program: Program) -> None:
    @app.task(stream="orders")
    async def bill(order: str) -> None: ...

    @app.task(serial_by="doc")
    async def serial(doc: str) -> None: ...

    @app.task
    async def nothing() -> None: ...

    @app.task
    async def tell(status: TaskStatus) -> None: ...

    call = program.split.call("a")
    for flow, error, told in (
        (call.then(bill), DefinitionError, "adopts a stream"),
        (call.then(serial), DefinitionError, "serial_by"),
        (call.then(nothing), DefinitionError, "takes no argument"),  # type: ignore[arg-type]
        (call.then(program.store.options(key="k")), DefinitionError, "has a key"),
        (call.then(program.store.options(delay=5)), DefinitionError, "without a delay"),
        (call.then(program.upper), InvalidArguments, "'text'; further arguments: ending"),
        (call.then(program.store, "a", "b"), InvalidArguments, "further arguments: table"),
        (call.then(program.store, tabel="b"), InvalidArguments, "further arguments: table"),
        (all_of([]).then(program.store), DefinitionError, "nothing to wait for"),
        (all_of([]), DefinitionError, "nothing to wait for"),
        (call.then_each(program.embed.options(id="e")), DefinitionError, "without id"),
        (call.on_failure(tell.options(delay=5)), DefinitionError, "without id, delay and at"),
        (call.on_failure(bill), DefinitionError, "adopts a stream"),
    ):
        with pytest.raises(error, match=told):
            flow.enqueue_sync()  # type: ignore[attr-defined]
    with pytest.raises(DefinitionError, match="all_of takes calls"):
        all_of(call, program.embed)  # type: ignore[call-overload]


async def test_flows_run_through_without_a_server(app: App, program: Program) -> None:
    with inline(app):
        steps = program.split.call("a bb").then_each(program.embed, times=2)
        assert await (await steps.then(program.store, "x").enqueue()).result() == "x:[2, 4]"
        every = all_of(program.embed.call(word) for word in ("a", "bad"))
        task = await every.keep_going().then(program.store).enqueue()
        assert await task.result() == "t:[1, None]"
        failed = await every.then(program.store).enqueue()
        with pytest.raises(TaskDead, match="no word"):
            await failed.result()
