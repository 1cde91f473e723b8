"""Dead letters by function and error: counted, queued again at a pace, thrown away."""

from __future__ import annotations

import math

import pytest
import redis

from castwork import App, DeadLetters, TaskState
from castwork.model.errors import DefinitionError, UndecodableEntry
from castwork.tasks import dead_choice


@pytest.fixture
async def letters(app: App) -> DeadLetters:
    """Three dead letters of two functions and two errors, and one that does not decode."""

    @app.task(queue="q", attempts=1)
    async def one(kind: str) -> None:
        raise {"value": ValueError, "key": KeyError}[kind]

    @app.task(queue="q", attempts=1)
    async def other() -> None:
        raise ValueError

    queue = app.queue("q")
    await app.open()
    async with app.worker(concurrency=1):
        for task in [
            await one.enqueue("value"),
            await one.enqueue("key"),
            await other.enqueue(),
            await one.enqueue("value"),
        ]:
            assert (await task.wait(timeout=10)).status is TaskState.DEAD
    return queue.dead_letters


async def test_letters_are_counted_by_function_and_error(app: App, letters: DeadLetters) -> None:
    listed = await letters.list()
    groups = await letters.groups()
    found = {(group.task, group.error): group for group in groups}
    assert {name: group.count for name, group in found.items()} == {
        ("one", "ValueError"): 2,
        ("one", "KeyError"): 1,
        ("other", "ValueError"): 1,
    }
    assert groups[0].count == 2
    assert found["one", "ValueError"].newest == listed[0].id
    assert found["other", "ValueError"].newest == listed[1].id


async def test_some_are_queued_again_and_some_deleted(app: App, letters: DeadLetters) -> None:
    newest, other, key, oldest = await letters.list()

    assert await letters.replay_all(function="one", error="KeyError") == 1
    assert await letters.purge_all(error="ValueError", until=other.id) == 2
    assert [one.id for one in await letters.list()] == [newest.id]
    assert await app.get_task(key.task_id).status()
    assert oldest.id != key.id
    assert await letters.replay_all(function="nobody") == 0
    assert await letters.replay_all() == 1
    assert await letters.count() == 0
    with pytest.raises(UndecodableEntry):
        await letters.replay_all(until="yesterday")
    for pace in (0, -1.0, math.nan, math.inf, "5", True, 10**400):
        with pytest.raises(DefinitionError, match="pace"):
            await letters.replay_all(pace=pace)  # type: ignore[arg-type]


async def test_what_is_no_task_stays_and_is_not_counted(
    app: App, letters: DeadLetters, plain: redis.Redis
) -> None:
    [store] = [store for store in app.tasks.stores() if store.queue.name == "q"]
    plain.xadd(store.place.keys.dead, {"any": "thing"})
    assert await letters.replay_all() == 4
    assert [group.error for group in await letters.groups()] == ["UndecodableEntry"]


async def test_a_pace_spreads_what_is_queued_again(
    app: App, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    clock = [100.0]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += max(0.0, seconds)

    monkeypatch.setattr(dead_choice.asyncio, "sleep", sleep)
    monkeypatch.setattr(dead_choice.time, "monotonic", lambda: clock[0])
    assert await letters.replay_all(pace=2.0) == 4
    assert clock[0] == pytest.approx(101.5), "the fourth goes out 1.5 s behind the first"
    assert len(waits) >= 4


async def test_a_thousand_kinds_of_errors_do_not_fill_the_memory(
    app: App, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_choice, "_GROUPS", 1)
    first, rest = await letters.groups()
    assert sum((first.count, rest.count)) == 4
    assert ("", "") in {(first.task, first.error), (rest.task, rest.error)}
