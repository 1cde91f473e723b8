"""Checkpoints: what one attempt saves is what the next one goes on from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.worker.conftest import MakeRoles, only

from castwork import App, AppSettings, Backoff, Limits, TaskState, current
from castwork.model.errors import (
    DefinitionError,
    InvalidArguments,
    LeaseLost,
    NoJsonForm,
    PayloadTooLarge,
    ResultNotKept,
)
from castwork.testing import inline, run_task


@dataclass
class State:
    page: int
    words: list[str]


NOW = Backoff(base=0.01)


def saved_keys(plain: redis.Redis) -> list[Any]:
    return list(plain.scan_iter("*:saved:*"))


@pytest.mark.parametrize("kind", ["coroutine", "plain", "stream"])
async def test_the_next_attempt_goes_on_from_what_was_saved(
    app: App, plain: redis.Redis, kind: str
) -> None:
    seen: list[State | None] = []

    def fail_until(page: int) -> None:
        if page < 3:
            raise RuntimeError

    @app.task(name="coroutine", backoff=NOW)
    async def coroutine() -> None:
        seen.append(state := current().saved(State))
        page = state.page + 1 if state else 1
        await current().save(State(page - 1, ["lost"]))
        await current().save(State(page, ["ä"]))
        assert current().saved(State) == State(page, ["ä"])
        fail_until(page)

    @app.task(name="plain", backoff=NOW)
    def plainly() -> None:
        seen.append(state := current().saved(State))
        page = state.page + 1 if state else 1
        current().save_sync(State(page, ["ä"]))
        fail_until(page)

    @app.task(name="stream", backoff=NOW)
    async def stream() -> AsyncIterator[int]:
        seen.append(state := current().saved(State))
        page = state.page + 1 if state else 1
        yield page
        await current().save(State(page, ["ä"]))
        fail_until(page)

    function = {"coroutine": coroutine, "plain": plainly, "stream": stream}[kind]
    async with app, app.worker():
        task = await function.enqueue()
        assert (await task.wait(timeout=10)).status is TaskState.SUCCEEDED
    assert seen == [None, State(1, ["ä"]), State(2, ["ä"])]
    assert not saved_keys(plain), "what is saved goes with the end"


async def test_a_replayed_dead_letter_goes_on_and_a_purged_one_leaves_nothing(
    app: App, plain: redis.Redis
) -> None:
    seen: list[int | None] = []

    @app.task(queue="q", attempts=1)
    async def work() -> None:
        seen.append(current().saved(int))
        await current().save(7)
        raise RuntimeError

    async with app, app.worker():
        task = await work.enqueue()
        await task.wait(timeout=10)
        [letter] = await app.queue("q").dead_letters.list()
        await app.queue("q").dead_letters.replay(letter.id)
        await eventually(lambda: len(seen) == 2)
        await task.wait(timeout=10)
        assert seen == [None, 7]
        [key] = saved_keys(plain)
        assert plain.pttl(key) > 86_400_000, "it does not stay for good"
        await app.queue("q").dead_letters.purge(task.id)
    assert not saved_keys(plain)


async def test_who_lost_the_lease_saves_nothing(
    app: App, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    go = asyncio.Event()
    told: list[BaseException] = []

    @app.task(queue="q")
    async def work() -> None:
        if current().attempt == 1:
            await go.wait()
            try:
                await current().save("late")
            except BaseException as error:
                told.append(error)
                raise

    alice = await make_roles("alice")
    task = await work.enqueue()
    await alice.fetcher.claim(1)
    held = only(alice)
    stream, group = alice.workload.store.place.keys.lanes[held.lane], alice.workload.queue.group
    plain.xclaim(stream, group, "bob", 0, [held.entry_id])
    await eventually(lambda: held.begun)
    go.set()
    await eventually(lambda: told)
    assert isinstance(told[0], LeaseLost)
    assert not saved_keys(plain)
    assert task.id == held.task_id


async def test_bad_states_are_refused_by_name(app: App) -> None:
    small = App(app.url, settings=AppSettings(app.settings.namespace, limits=Limits(payload=100)))

    @small.task(attempts=1)
    async def work() -> list[str]:
        said = []
        for state in (object(), "x" * 200):
            try:
                await current().save(state)
            except (NoJsonForm, PayloadTooLarge) as error:
                said.append(type(error).__name__)
        await current().save({"page": 1})
        try:
            current().saved(State)
        except InvalidArguments as error:
            said.append(str(error))
        return said

    async with small, small.worker():
        said = await (await work.enqueue()).result(timeout=10)
    assert said[:2] == ["NoJsonForm", "PayloadTooLarge"]
    assert "saved is no State" in said[2]


def test_an_inline_run_has_checkpoints() -> None:
    app = App("redis://nowhere")

    @app.task(attempts=3)
    async def work() -> int:
        before = current().saved(int) or 0
        await current().save(before + 1)
        if before < 2:
            raise RuntimeError
        return before

    with inline(app):
        assert work.enqueue_sync().result_sync() == 2


# -- results that a stream sets ------------------------------------------------------------------


@dataclass
class Usage:
    tokens: int


async def test_a_stream_sets_its_result_apart_from_its_items(app: App) -> None:
    @app.task(result=Usage)
    async def chat(words: int) -> AsyncIterator[str]:
        for number in range(words):
            yield f"w{number}"
        if words:
            current().set_result(Usage(1))
            current().set_result(Usage(words))

    async with app, app.worker():
        task = await chat.enqueue(3)
        assert [item async for item in task.items()] == ["w0", "w1", "w2"]
        assert await task.result(timeout=10) == Usage(3)
        assert await (await chat.enqueue(0)).result(timeout=10) is None
    outcome = await run_task(chat, 2)
    assert (outcome.result, len(outcome.chunks)) == (Usage(2), 2)
    assert (await run_task(chat, 0)).result is None


async def test_a_result_of_another_type_is_refused_when_it_is_set(app: App) -> None:
    @app.task(result=Usage, attempts=1)
    async def chat() -> AsyncIterator[str]:
        yield "w"
        current().set_result("three")

    @app.task(attempts=1)
    async def undeclared() -> AsyncIterator[str]:
        yield "w"
        current().set_result(Usage(1))

    async with app, app.worker():
        wrong = await (await chat.enqueue()).wait(timeout=10)
        other = await (await undeclared.enqueue()).wait(timeout=10)
    assert wrong.error is not None and wrong.error.type == "InvalidArguments"
    assert other.error is not None and "result=" in other.error.message


async def test_a_result_that_is_too_large_kills_no_stream_that_ended_well(app: App) -> None:
    small = App(app.url, settings=AppSettings(app.settings.namespace, limits=Limits(result=50)))

    @small.task(result=str)
    async def chat() -> AsyncIterator[int]:
        yield 1
        current().set_result("x" * 100)

    async with small, small.worker():
        task = await chat.enqueue()
        assert (await task.wait(timeout=10)).status is TaskState.SUCCEEDED
        with pytest.raises(ResultNotKept):
            await task.result()


def test_a_result_type_is_of_generators_alone() -> None:
    app = App("redis://nowhere")
    with pytest.raises(DefinitionError, match="annotate"):

        @app.task(result=Usage)  # type: ignore[arg-type]
        async def work() -> Usage:
            return Usage(1)

    with pytest.raises(DefinitionError, match="type of the result"):
        app.task(result="Usage")(print)  # type: ignore[call-overload]
