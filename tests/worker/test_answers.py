"""Who asks for the outcome of a task that has ended is answered at once, however often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.eventually import eventually

from castwork import App, AppSettings, Task, TaskFunction, TaskState
from castwork.model.errors import TaskCancelled, TaskDead, TaskNotFound, UndecodableEntry
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys

#: Seconds: far more than an answer takes, and less than any wait of castwork's that could end it.
SOON = 5.0

#: Seconds after which a producer's channel is no longer listened to.
LINGER = 1.0


class Failing:
    """Fails as often as it is told to."""

    times = 0


@pytest.fixture
async def other(server_url: str, namespace: str) -> AsyncIterator[App]:
    """The app in another process."""
    made = App(server_url, settings=AppSettings(namespace=namespace))
    made.task(queue="q", name="double")(double_)
    yield made
    await made.close()


async def double_(number: int) -> int:
    return 2 * number


@pytest.fixture
def double(app: App) -> TaskFunction[[int], int]:
    return app.task(queue="q", name="double")(double_)


async def test_result_is_had_again_and_again(app: App, double: TaskFunction[[int], int]) -> None:
    async with app, app.worker():
        task = await double.enqueue(4)
        assert await task.result(timeout=SOON) == 8
        assert await task.result(timeout=SOON) == 8
        assert (await task.wait(timeout=SOON)).status is TaskState.SUCCEEDED
        assert await task.result(timeout=SOON) == 8
        assert await asyncio.gather(*(task.result(timeout=SOON) for _ in range(20))) == [8] * 20


async def test_result_is_had_when_nobody_listens_any_more(
    app: App, double: TaskFunction[[int], int], plain: redis.Redis, namespace: str
) -> None:
    async with app, app.worker():
        task = await double.enqueue(4)
        assert (await task.wait(timeout=SOON)).value == 8
        channels = f"{{{namespace}:q}}:told:*"
        assert len(plain.pubsub_channels(channels)) == 1
        await eventually(lambda: plain.pubsub_channels(channels) == [], within=10 * LINGER)
        assert await task.result(timeout=SOON) == 8
    async with app:  # and when the connections are new ones
        assert await task.result(timeout=SOON) == 8


async def test_results_of_many_tasks_are_had_in_any_order(
    app: App, double: TaskFunction[[int], int]
) -> None:
    async with app, app.worker():
        tasks = [await double.enqueue(n) for n in range(5)]
        tasks += await asyncio.gather(*(double.enqueue(n) for n in range(5, 1500)))
        tasks += await double.enqueue_many(range(1500, 3000))
        await asyncio.gather(*(task.wait(timeout=20) for task in tasks))
        results = [await task.result(timeout=SOON) for task in reversed(tasks)]
    assert results == [2 * n for n in reversed(range(3000))]


async def test_large_result_is_had_again(app: App) -> None:
    @app.task(queue="q")
    async def long(length: int) -> str:
        return "x" * length

    async with app, app.worker():
        task = await long.enqueue(100_000)
        for _ in range(3):
            assert len(await task.result(timeout=SOON)) == 100_000


async def test_other_process_has_the_result(
    app: App, other: App, double: TaskFunction[[int], int]
) -> None:
    async with app, app.worker(), other:
        task = await double.enqueue(4)
        assert await other.get_task(task.id).result(timeout=SOON) == 8
        assert await other.get_task(task.id).result(timeout=SOON) == 8
        assert await other.tasks.get("double").task(task.id).result(timeout=SOON) == 8
        assert (await app.get_task(task.id).wait(timeout=SOON)).value == 8


async def test_result_of_a_cancelled_task_is_an_error_at_once(
    app: App, double: TaskFunction[[int], int]
) -> None:
    async with app:
        made: list[Task[int]] = [await double.enqueue(1)]
        made.append(await double.options(delay=60).enqueue(1))
        made.append(await double.options(id="mine").enqueue(1))
        made.append(await double.options(key="k").enqueue(1))
        waiting = [asyncio.create_task(task.wait(timeout=SOON)) for task in made]
        await asyncio.sleep(0)
        assert [await task.cancel(timeout=SOON) for task in made] == [True] * 4
        assert {(await wait).status for wait in waiting} == {TaskState.CANCELLED}
        for task in made:
            with pytest.raises(TaskCancelled):
                await task.result(timeout=SOON)
            assert await task.cancel(timeout=SOON), "it is, still"
            assert (await task.wait(timeout=SOON)).status is TaskState.CANCELLED


async def test_result_of_a_task_that_was_cancelled_while_it_ran_is_an_error_at_once(
    app: App,
) -> None:
    begun = asyncio.Event()

    @app.task(queue="q")
    async def hang() -> None:
        begun.set()
        await asyncio.sleep(60)

    async with app, app.worker():
        task = await hang.enqueue()
        await asyncio.wait_for(begun.wait(), SOON)
        assert await task.cancel(timeout=SOON)
        with pytest.raises(TaskCancelled):
            await task.result(timeout=SOON)
        with pytest.raises(TaskCancelled):
            await task.result(timeout=SOON)


@pytest.mark.parametrize("options", [{"key": "order-7", "key_taken": "join"}, {"id": "order-7"}])
async def test_second_enqueue_finds_the_task_that_has_ended(
    app: App, other: App, double: TaskFunction[[int], int], options: dict[str, str]
) -> None:
    async with app, other:
        async with app.worker():
            first = await double.options(**options).enqueue(4)  # type: ignore[arg-type]
            assert await first.result(timeout=SOON) == 8
            again = await double.options(**options).enqueue(5)  # type: ignore[arg-type]
            assert (again.id, again.created) == (first.id, False)
            assert await again.result(timeout=SOON) == 8
        # No worker is there that could run anything.
        for each in (app, other):
            late = await each.tasks.get("double").options(**options).enqueue(6)  # type: ignore[arg-type]
            assert (late.id, late.created) == (first.id, False)
            assert await late.result(timeout=SOON) == 8
            assert (await late.wait(timeout=SOON)).status is TaskState.SUCCEEDED


async def test_second_enqueue_finds_the_task_that_was_cancelled(
    app: App, double: TaskFunction[[int], int]
) -> None:
    async with app:
        first = await double.options(key="order-7").enqueue(4)
        assert await first.cancel(timeout=SOON)
        again = await double.options(key="order-7").enqueue(4)
        assert again.id == first.id
        with pytest.raises(TaskCancelled):
            await again.result(timeout=SOON)


async def test_result_of_a_replayed_task_is_that_of_its_last_run(app: App) -> None:
    @app.task(queue="q", attempts=1)
    async def flaky(number: int) -> int:
        Failing.times -= 1
        if Failing.times >= 0:
            raise RuntimeError("not yet")
        return number

    async with app, app.worker():
        [dead] = app.dead_letters()
        for number in range(20):
            Failing.times = 1
            task = await flaky.enqueue(number)
            with pytest.raises(TaskDead):
                await task.result(timeout=SOON)
            with pytest.raises(TaskDead):
                await task.result(timeout=SOON)
            # The outcome of before may be known better than the replay, which is told elsewhere.
            wire = app.connections.pushes._link._wire  # type: ignore[attr-defined]
            wire._transport.pause_reading()
            await dead.replay(task.id)
            asyncio.get_running_loop().call_later(0.01, wire._transport.resume_reading)
            assert await task.result(timeout=SOON) == number


async def test_record_that_does_not_decode_is_an_error_for_who_asks(
    app: App, double: TaskFunction[[int], int], plain: redis.Redis, namespace: str
) -> None:
    keys = QueueKeys.of(namespace, Queue("q"))
    async with app:
        task = await double.enqueue(1)
        waiting = asyncio.create_task(task.wait(timeout=SOON))
        await eventually(lambda: plain.pubsub_channels(f"{keys.told('')}:*"))
        record = b'{"status":"unheard-of","v":9}'
        plain.set(keys.record(task.id), record)
        [channel] = plain.pubsub_channels(f"{keys.told('')}:*")
        plain.publish(channel, keys.record(task.id).encode() + b"\n" + record)
        with pytest.raises(UndecodableEntry):
            await waiting
        with pytest.raises(UndecodableEntry):
            await task.result(timeout=SOON)


async def test_task_that_the_server_lost_is_not_waited_for(
    app: App, double: TaskFunction[[int], int], plain: redis.Redis, namespace: str
) -> None:
    keys = QueueKeys.of(namespace, Queue("q"))
    async with app:
        tasks = [await double.enqueue(1), await double.options(id="mine").enqueue(1)]
        waiting = [asyncio.create_task(task.wait()) for task in tasks]
        await eventually(lambda: len(plain.pubsub_channels(f"{keys.told('')}*")) == 2)
        plain.delete(*plain.keys(f"{keys.prefix}:*"))
        plain.client_kill_filter(_type="pubsub")  # as when a server comes back without its data
        async with asyncio.timeout(SOON):
            for wait in waiting:
                with pytest.raises(TaskNotFound):
                    await wait


async def test_message_that_is_no_record_is_passed_over(
    app: App, double: TaskFunction[[int], int], plain: redis.Redis, namespace: str
) -> None:
    keys = QueueKeys.of(namespace, Queue("q"))
    async with app:
        task = await double.enqueue(1)
        waiting = asyncio.create_task(task.wait(timeout=4 * SOON))
        [channel] = await eventually(lambda: plain.pubsub_channels(f"{keys.told('')}:*"))
        key = keys.record(task.id).encode()
        for payload in (b"", b"\n", b"\xff", key, key + b"\n{nope", b"a\nb\nc"):
            plain.publish(channel, payload)
        async with app.worker():
            assert (await waiting).value == 2
