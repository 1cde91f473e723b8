"""What tasks take over from the task whose code enqueues them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.eventually import eventually

from castwork import App, Call, TaskState, TaskStatus, current
from castwork.testing import inline


def _what() -> dict[str, Any]:
    context = current()
    return {
        "owner": context.owner,
        "tenant": context.tenant,
        "headers": dict(context.headers),
        "labels": dict(context.labels),
        "left": context.time_left,
    }


@pytest.mark.parametrize("how", ["enqueue", "many", "sync", "wrapped", "thread"])
async def test_children_inherit_whose_they_are_and_the_earlier_deadline(app: App, how: str) -> None:
    told: list[TaskStatus] = []
    if how == "wrapped":

        @app.around_enqueue
        async def look(call: Call[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
            if call.function.name == "child":
                assert (call.owner, call.headers) == ("eve", {"trace": "t1", "own": "1"})
            return await proceed()

    @app.task(timeout=None)
    async def child() -> dict[str, Any]:
        return _what()

    call = child.options(headers={"own": "1"}, labels={"of": "child"}, deadline=3600)

    @child.on_end
    async def hear(status: TaskStatus) -> None:
        told.append(status)

    @app.task(name="parent")
    async def parent() -> dict[str, Any]:
        if how == "many":
            [task] = await app.enqueue_many([call.call()])
        else:
            task = await call.enqueue()
        return await task.result(timeout=10)

    @app.task(name="parent_in_thread")
    def parent_in_thread() -> dict[str, Any]:
        if how == "thread":
            return asyncio.run(_elsewhere())
        return call.enqueue_sync().result_sync(timeout=10)

    async def _elsewhere() -> dict[str, Any]:
        return await asyncio.to_thread(lambda: call.enqueue_sync().result_sync(timeout=10))

    function = parent_in_thread if how in ("sync", "thread") else parent
    async with app, app.worker(concurrency=4):
        options = function.options(
            owner="eve",
            tenant="acme",
            headers={"trace": "t1"},
            labels={"of": "parent"},
            deadline=60,
        )
        task = await options.enqueue()
        got = await task.result(timeout=15)
        await eventually(lambda: told)
    assert 0 < got.pop("left") <= 60, "the parent's deadline is the earlier one"
    assert got == {
        "owner": "eve",
        "tenant": "acme",
        "headers": {"trace": "t1", "own": "1"},
        "labels": {"of": "child"},
    }
    assert told[0].parent == task.id


async def test_what_a_call_says_itself_counts(app: App) -> None:
    @app.task(timeout=None)
    async def child() -> dict[str, Any]:
        return _what()

    @app.task
    async def parent() -> list[dict[str, Any]]:
        soon = child.options(owner="bob", tenant="other", headers={"trace": "t2"}, deadline=5)
        moment = child.options(deadline=datetime.now(UTC) + timedelta(seconds=20))
        tasks = [await soon.enqueue(), await moment.enqueue()]
        return [await task.result(timeout=10) for task in tasks]

    async with app, app.worker():
        task = await parent.options(owner="eve", headers={"trace": "t1"}, deadline=60).enqueue()
        own, moment = await task.result(timeout=15)
    assert (own["owner"], own["tenant"], own["headers"]) == ("bob", "other", {"trace": "t2"})
    assert 0 < own["left"] <= 5 < moment["left"] <= 20


async def test_a_plain_parent_gives_its_children_nothing_but_its_name(app: App) -> None:
    told: list[TaskStatus] = []

    @app.task(timeout=None)
    async def child() -> dict[str, Any]:
        return _what()

    @app.on_end
    async def hear(status: TaskStatus) -> None:
        told.append(status)

    @app.task
    async def parent() -> dict[str, Any]:
        return await (await child.enqueue()).result(timeout=10)

    async with app, app.worker():
        task = await parent.enqueue()
        got = await task.result(timeout=10)
        await eventually(lambda: len(told) == 2)
    assert got == {"owner": "", "tenant": "", "headers": {}, "labels": {}, "left": None}
    assert {status.task: status.parent for status in told} == {"child": task.id, "parent": ""}


async def test_a_parent_that_is_cancelled_leaves_its_children_alone(app: App) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @app.task
    async def child() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    ids: list[str] = []

    @app.task
    async def parent() -> None:
        ids.append((await child.enqueue()).id)
        await asyncio.Event().wait()

    async with app, app.worker():
        task = await parent.enqueue()
        await asyncio.wait_for(begun.wait(), 10)
        assert await task.cancel()
        go_on.set()
        status = await app.get_task(ids[0]).wait(timeout=10)
    assert status.status is TaskState.SUCCEEDED


def test_inline_runs_inherit_as_well() -> None:
    app = App("redis://nowhere")

    @app.task
    async def child() -> str:
        return current().owner

    @app.task
    async def parent() -> str:
        return await (await child.enqueue()).result()

    with inline(app):
        assert parent.options(owner="eve").enqueue_sync().result_sync() == "eve"
