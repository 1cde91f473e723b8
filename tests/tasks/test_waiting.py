"""Waiting for outcomes: one look, tasks that are gone, cancels that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.eventually import eventually

from castwork import App, Chunk, TaskState
from castwork.model.errors import ResultTimeout, TaskNotFound
from castwork.model.ids import PlaceNames, lane_suffix
from castwork.model.record import Record
from castwork.model.states import Priority
from castwork.store.unserved import Unserved


async def test_no_time_is_enough_for_an_outcome_that_is_there(app: App) -> None:
    @app.task
    async def work() -> int:
        return 7

    async with app:
        task = await work.enqueue()
        with pytest.raises(ResultTimeout):
            await task.result(timeout=0)
        async with app.worker():
            await task.result(timeout=10)
        assert await task.result(timeout=0) == 7
        assert (await task.wait(timeout=0)).status is TaskState.SUCCEEDED


async def test_a_cancel_without_waiting_is_sent(app: App) -> None:
    begun = asyncio.Event()

    @app.task
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with app, app.worker():
        task = await hang.enqueue()
        await begun.wait()
        assert await task.cancel(timeout=0) is False, "it has not let go yet"
        assert (await task.wait(timeout=10)).status is TaskState.CANCELLED
        waiting = await hang.options(delay=60).enqueue()
        assert await waiting.cancel(timeout=0) is True


@pytest.mark.parametrize("delay", [0, 60])
async def test_waiting_for_a_task_whose_keys_are_deleted_ends(
    app: App, plain: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    monkeypatch.setattr("castwork.tasks.patience._SOON", 0.02)
    monkeypatch.setattr("castwork.tasks.patience._LOOK_AGAIN", 0.05)

    @app.task
    async def work() -> None: ...

    async with app:
        task = await work.options(delay=delay).enqueue()
        waiting = asyncio.ensure_future(task.result(timeout=20))
        await asyncio.sleep(0)
        for key in plain.keys(f"*{namespace}*"):
            plain.delete(key)
        await eventually(waiting.done)
        with pytest.raises(TaskNotFound):
            await waiting


async def test_following_the_output_of_a_task_whose_keys_are_deleted_ends(
    app: App, plain: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castwork.tasks.patience._SOON", 0.02)
    monkeypatch.setattr("castwork.tasks.patience._LOOK_AGAIN", 0.05)

    @app.task
    async def work() -> None: ...

    async with app:
        task = await work.enqueue()
        following = asyncio.ensure_future(_all(task.events()))
        await eventually(lambda: plain.pubsub_channels(f"*{namespace}*out*"))
        for key in plain.keys(f"*{namespace}*"):
            plain.delete(key)
        await eventually(following.done)
        with pytest.raises(TaskNotFound):
            await following


async def _all(events: AsyncIterator[Chunk | Record]) -> list[Chunk | Record]:
    return [event async for event in events]


@pytest.mark.parametrize("after", [None, "1-2"])
async def test_a_reader_is_told_between_which_chunks_some_were_trimmed(
    app: App, plain: redis.Redis, after: str | None
) -> None:
    @app.task
    async def count() -> AsyncIterator[int]:
        for number in range(1, 11):
            yield number

    async with app, app.worker():
        task = await count.enqueue()
        await task.result(timeout=10)
        plain.xtrim(count.store.place.keys.output(task.id), maxlen=3, approximate=False)
        first, *others = [chunk async for chunk in task.chunks(after=after)]
        assert (first.kind, first.data) == ("trimmed", {"after": after or "0-0", "before": "1-8"})
        assert [chunk.data for chunk in others] == [8, 9, 10]
        assert [chunk async for chunk in task.chunks(after=first.id)] == others


async def test_who_waits_for_a_queue_that_nobody_serves_is_warned_once(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("castwork.tasks.patience._SOON", 0.02)

    @app.task(queue="idle")
    async def work() -> None: ...

    def warnings() -> list[str]:
        said = [record.getMessage() for record in caplog.records]
        return [line for line in said if "no live worker serves it" in line]

    async with app:
        tasks = [await work.enqueue() for _ in range(3)]
        waiting = [asyncio.ensure_future(task.wait(timeout=20)) for task in tasks]
        following = asyncio.ensure_future(_all(tasks[0].events()))
        await eventually(warnings)
        async with app.worker():
            await asyncio.gather(*waiting, following)
        [line] = warnings()
        assert line.startswith("queue idle:")
        assert "castwork worker MODULE:APP --queues idle" in line


async def test_a_wait_for_a_served_queue_warns_of_nothing(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("castwork.tasks.patience._SOON", 0.02)
    looks: list[bool] = []
    is_served = Unserved.is_served

    async def noted(self: Unserved) -> bool:
        looks.append(await is_served(self))
        return looks[-1]

    monkeypatch.setattr(Unserved, "is_served", noted)
    go_on = asyncio.Event()

    @app.task
    async def work() -> None:
        await go_on.wait()

    async with app, app.worker():
        task = await work.enqueue()
        waiting = asyncio.ensure_future(task.wait(timeout=20))
        await eventually(lambda: looks)
        go_on.set()
        await waiting
    assert looks == [True]
    assert "no live worker" not in caplog.text


@pytest.mark.parametrize("meta", [b"{nope", b"\xff", b'{"attempts":-1}', b"[" * 100_000])
@pytest.mark.parametrize("own_id", ["", "mine"])
async def test_who_waits_for_a_task_whose_entry_does_not_decode_hears_of_its_end(
    app: App, plain: redis.Redis, meta: bytes, own_id: str
) -> None:
    @app.task(queue="q")
    async def work(number: int) -> None: ...

    fields: dict[str, bytes] = {"call": b'work 0123456789ABCD {"number":1}', "meta": meta}
    if own_id:
        fields["id"] = f"q:{own_id}".encode()
    async with app:
        entry = plain.xadd(work.store.place.keys.own[Priority.NORMAL], fields)  # type: ignore[arg-type]
        if own_id:
            plain.hset(work.store.place.keys.moved, f"q:{own_id}", b"normal:" + entry)
        place = PlaceNames().name(entry) + lane_suffix(Priority.NORMAL)
        task = app.get_task(f"q:{own_id}" if own_id else f"q-{place}0123456789ABCD")
        async with app.worker():
            status = await task.wait(timeout=10)
        assert status.status is TaskState.DEAD
        assert status.error is not None
        assert status.error.type == "UndecodableEntry"
        [letters] = app.dead_letters()
        assert (await letters.get(task.id)).task_id == task.id
