"""Dead letters: looked at, queued again and thrown away, by their ids and by their tasks'."""

from __future__ import annotations

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AppSettings, Backoff, Limits, Task, TaskFunction, TaskState, current
from castwork.model.errors import AmbiguousId, TaskNotFound, UndecodableEntry
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys
from castwork.tasks.dead_letters import DeadLetters, find_letter

Fail = TaskFunction[[int], int]


@pytest.fixture
def fail(app: App) -> Fail:
    @app.task(queue="q", attempts=2, backoff=Backoff(base=0.0))
    async def fail(until: int) -> int:
        if current().attempt < until:
            raise ValueError(f"not before {until}")
        return current().attempt

    return fail


@pytest.fixture
def letters(app: App, fail: Fail) -> DeadLetters:
    [letters] = app.dead_letters()
    return letters


async def dead(app: App, *tasks: Task[int]) -> None:
    """Run tasks until they are dead."""
    async with app.worker(scheduler_interval=0.02):
        for task in tasks:
            assert (await task.wait(timeout=10)).status is TaskState.DEAD


async def test_letter_is_found_by_its_id_and_by_its_tasks(
    app: App, fail: Fail, letters: DeadLetters
) -> None:
    async with app:
        task = await fail.enqueue(9)
        named = await fail.options(id="mine").enqueue(9)
        await dead(app, task, named)

        assert await letters.count() == 2
        [newest, oldest] = await letters.list()
        assert {newest.task_id, oldest.task_id} == {task.id, named.id}
        for letter in (newest, oldest):
            assert await letters.get(letter.id) == await letters.get(letter.task_id) == letter
            assert (letter.queue, letter.task, letter.attempts) == ("q", "fail", 2)
            assert [error["message"] for error in letter.errors] == ["not before 9"] * 2
            assert letter.fields["call"].endswith('{"until":9}')
        assert await letters.list(limit=1) == [newest]


@pytest.mark.parametrize("name", ["", "0-1", "1-1", "q-x", "q:none", "nonsense"])
async def test_letter_that_is_not_there_is_not_found(
    app: App, letters: DeadLetters, name: str
) -> None:
    async with app:
        assert await letters.find(name) is None
        for look in (letters.get, letters.replay, letters.purge):
            with pytest.raises(TaskNotFound):
                await look(name)


@pytest.mark.parametrize("by", ["id", "task_id"])
async def test_replayed_letter_has_all_its_attempts_again_and_goes_on_counting(
    app: App, fail: Fail, letters: DeadLetters, by: str
) -> None:
    async with app:
        task = await fail.enqueue(4)
        await dead(app, task)
        [letter] = await letters.list()
        assert await letters.replay(getattr(letter, by)) == task.id
        assert await letters.count() == 0
        status = await task.status()
        assert (status.status, status.attempts) == (TaskState.QUEUED, 2)
        with pytest.raises(TaskNotFound):
            await letters.replay(getattr(letter, by))
        async with app.worker(scheduler_interval=0.02):
            assert await task.result(timeout=10) == 4


async def test_replayed_letter_that_dies_again_is_a_new_letter(
    app: App, fail: Fail, letters: DeadLetters
) -> None:
    async with app:
        task = await fail.options(deadline=60, priority="high").enqueue(99)
        await dead(app, task)
        first = await letters.get(task.id)
        await letters.replay(task.id)
        await dead(app, task)
        second = await letters.get(task.id)
        assert second.id != first.id
        assert (second.attempts, len(second.errors)) == (4, 2), "errors of before are over"
        assert await letters.count() == 1


async def test_task_that_waits_again_is_cancelled_as_any_other(
    app: App, fail: Fail, letters: DeadLetters
) -> None:
    async with app:
        task = await fail.enqueue(9)
        await dead(app, task)
        assert not await task.cancel(), "dead is an end"
        await letters.replay(task.id)
        assert await task.cancel()
        assert (await task.wait(timeout=5)).status is TaskState.CANCELLED


@pytest.mark.parametrize("by", ["id", "task_id"])
async def test_purged_letter_takes_its_record_along(
    app: App, fail: Fail, letters: DeadLetters, plain: redis.Redis, namespace: str, by: str
) -> None:
    async with app:
        task = await fail.enqueue(9)
        await dead(app, task)
        [letter] = await letters.list()
        await letters.purge(getattr(letter, by))
        assert await letters.count() == 0
        with pytest.raises(TaskNotFound):
            await task.status()
        with pytest.raises(TaskNotFound):
            await letters.purge(getattr(letter, by))
        keys = QueueKeys.of(namespace, Queue("q"))
        assert not plain.exists(keys.dead) or plain.xlen(keys.dead) == 0
        assert plain.hlen(keys.letters) == 0


async def test_letter_of_an_entry_that_is_no_task_can_be_looked_at_and_purged(
    app: App, letters: DeadLetters, plain: redis.Redis, namespace: str
) -> None:
    async with app, app.worker():
        plain.xadd(QueueKeys.of(namespace, Queue("q")).lanes[1], {"what": b"\xff", "is": "this"})
        [letter] = await eventually(letters.list)
        assert (letter.task, letter.fields) == ("", {"what": "\\xff", "is": "this"})
        with pytest.raises(UndecodableEntry):
            await letters.replay(letter.id)
        assert await letters.count() == 1
        await letters.purge(letter.task_id)
        assert await letters.count() == 0


async def test_letter_of_an_adopted_stream_is_replayed_beside_it(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    stream = f"{namespace}:orders"

    @app.task(stream=stream, group="billing", attempts=1)
    async def bill(number: int) -> int:
        if current().attempt == 1:
            raise ValueError
        return number

    async with app, app.worker():
        entry = plain.xadd(stream, {"number": "7", "more": "x"}).decode()
        task = app.get_task(f"{stream}:billing:{entry}")
        assert (await task.wait(timeout=10)).status is TaskState.DEAD
        [letters] = app.dead_letters()
        letter = await letters.get(task.id)
        assert (letter.task, letter.fields) == ("bill", {"number": "7", "more": "x"})
        assert await letters.replay(task.id) == task.id
        assert await task.result(timeout=10) == 7


async def test_letter_is_found_among_several_queues(app: App) -> None:
    @app.task(queue="a", attempts=1)
    async def first() -> int:
        raise ValueError

    @app.task(queue="b", attempts=1)
    async def second() -> int:
        raise ValueError

    async with app:
        tasks = [await first.enqueue(), await second.enqueue()]
        await dead(app, *tasks)
        queues = app.dead_letters()
        for task, queue in zip(tasks, ("a", "b"), strict=True):
            where, letter = await find_letter(queues, task.id)
            assert (where.queue, letter.task_id) == (queue, task.id)
        with pytest.raises(TaskNotFound):
            await find_letter(queues, "a-none")


async def test_letter_id_that_two_queues_have_is_ambiguous(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    for queue in ("a", "b"):

        @app.task(queue=queue, name=f"work-{queue}")
        async def work() -> None: ...

        letter = {"v": 1, "id": f"{queue}:x", "task": "work", "attempts": 1, "lane": "normal"}
        plain.xadd(QueueKeys.of(namespace, Queue(queue)).dead, {**letter, "errors": "[]"}, "7-7")
    async with app:
        with pytest.raises(AmbiguousId, match=r"\(a, b\)"):
            await find_letter(app.dead_letters(), "7-7")


async def test_letter_that_does_not_decode_is_shown_and_purged_but_not_replayed(
    app: App, letters: DeadLetters, plain: redis.Redis, namespace: str
) -> None:
    async with app:
        entry = plain.xadd(QueueKeys.of(namespace, Queue("q")).dead, {"id": "q:x", "lane": "odd"})
        [letter] = [one async for page in letters.pages() for one in page]
        assert (letter.id, letter.task, letter.fields) == (
            entry.decode(),
            "",
            {"id": "q:x", "lane": "odd"},
        )
        with pytest.raises(UndecodableEntry, match="purge"):
            await letters.replay(letter.id)
        await letters.purge(letter.id)
        assert await letters.count() == 0


async def test_pages_hold_all_letters_and_lists_cut_long_values(
    app: App, letters: DeadLetters, plain: redis.Redis, namespace: str
) -> None:
    letter = {
        "id": "q:x",
        "lane": "normal",
        "attempts": 1,
        "errors": "[]",
        "entry.call": "x" * 2000,
    }
    async with app:
        key = QueueKeys.of(namespace, Queue("q")).dead
        ids = [plain.xadd(key, letter).decode() for _ in range(7)]  # type: ignore[arg-type]
        assert [one.id async for page in letters.pages() for one in page] == ids[::-1]
        assert [one.id async for page in letters.pages(3) for one in page] == ids[:3:-1]
        [shown] = await letters.list(limit=1)
        assert shown.fields == {"call": "x" * 1000 + "... (2,000 bytes)"}
        assert (await letters.get(shown.id)).fields == {"call": "x" * 2000}
        with pytest.raises(UndecodableEntry):
            await letters.list(after="last week")


async def test_workers_purge_the_oldest_letters_beyond_the_bound(
    server_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(dead_letters=2)
    app = App(server_url, settings=AppSettings(namespace=namespace, limits=limits))

    @app.task(queue="q", attempts=1)
    async def fail() -> int:
        raise ValueError

    async with app, app.worker(concurrency=1, lease=0.3):
        tasks = [await fail.enqueue() for _ in range(5)]
        for task in tasks:
            assert (await task.wait(timeout=10)).status is TaskState.DEAD
        [letters] = app.dead_letters()
        await eventually(lambda: _count_is(letters, 2))
        assert {letter.task_id for letter in await letters.list()} == {t.id for t in tasks[3:]}
    assert tasks[0].id in caplog.text


async def _count_is(letters: DeadLetters, expected: int) -> bool:
    return await letters.count() == expected


async def test_logs_call_what_a_group_handles_an_event(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    news = app.channel("news", int, history=10)

    @news.subscribe(group="billing", attempts=1)
    async def bill(event: int) -> None:
        raise ValueError("no")

    async with app, app.worker():
        await news.publish(1)
        await eventually(lambda: "is dead after 1 attempt" in caplog.text)
    [line] = [r.getMessage() for r in caplog.records if "is dead after" in r.getMessage()]
    assert line.startswith("event ")
