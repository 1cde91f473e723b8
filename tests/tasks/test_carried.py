"""What a task carries beside its arguments comes along wherever the task goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from castwork import App, Backoff, Retry, TaskState, current
from castwork.model.call_options import CallOptions
from castwork.model.entry import Meta, parse_entry
from castwork.model.errors import InvalidArguments, TaskExpired
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys

CARRIED = CallOptions(
    owner="eve", tenant="acme", labels={"run": "7", "b": "ü"}, headers={"trace": "00-ab-01"}
)
SEEN = {
    "owner": "eve",
    "tenant": "acme",
    "labels": {"run": "7", "b": "ü"},
    "headers": {"trace": "00-ab-01"},
}
NOTHING = {"owner": "", "tenant": "", "labels": {}, "headers": {}}


def seen() -> dict[str, Any]:
    """What a task function can know of it."""
    context = current()
    return {
        "owner": context.owner,
        "tenant": context.tenant,
        "labels": dict(context.labels),
        "headers": dict(context.headers),
    }


@pytest.fixture
def meta_in_stream(plain: redis.Redis, namespace: str) -> Any:
    """Reads what the one waiting entry of queue `q` carries."""
    keys = QueueKeys.of(namespace, Queue("q"))

    def read() -> Meta | None:
        [(_, fields)] = [entry for lane in keys.lanes for entry in plain.xrange(lane)]
        return parse_entry([part for pair in fields.items() for part in pair]).meta

    return read


async def test_plain_task_carries_nothing(app: App, meta_in_stream: Any) -> None:
    @app.task(queue="q")
    async def look() -> dict[str, Any]:
        return seen()

    async with app:
        task = await look.enqueue()
        assert meta_in_stream() is None
        async with app.worker():
            assert await task.result(timeout=10) == NOTHING


async def test_coroutines_and_threads_see_what_their_task_carries(app: App) -> None:
    @app.task(queue="q")
    async def look() -> dict[str, Any]:
        return seen()

    @app.task(queue="q")
    def look_in_thread() -> dict[str, Any]:
        return seen()

    async with app, app.worker():
        for function in (look, look_in_thread):
            assert await (await function.options(**CARRIED).enqueue()).result(timeout=10) == SEEN
            [task] = await function.options(**CARRIED).enqueue_many([()])
            assert await task.result(timeout=10) == SEEN


@pytest.mark.parametrize("options", [{"delay": 0.01}, {"key": "k"}, {"id": "mine"}])
async def test_named_and_delayed_tasks_carry_it_too(app: App, options: CallOptions) -> None:
    @app.task(queue="q")
    async def look() -> dict[str, Any]:
        return seen()

    async with app, app.worker(scheduler_interval=0.02):
        task = await look.options(**CARRIED).options(**options).enqueue()
        assert await task.result(timeout=10) == SEEN


async def test_retried_task_carries_it_on_with_its_errors(app: App, meta_in_stream: Any) -> None:
    @app.task(queue="q", attempts=8, backoff=Backoff(base=0.0))
    async def fail(until: int) -> dict[str, Any]:
        if current().attempt < until:
            raise ValueError(str(current().attempt))
        return seen()

    async with app, app.worker(scheduler_interval=0.02):
        task = await fail.options(**CARRIED).enqueue(8)
        assert await task.result(timeout=20) == SEEN
        dead = await fail.options(**CARRIED).enqueue(9)
        assert (await dead.wait(timeout=20)).status is TaskState.DEAD
        letter = await app.dead_letters()[0].get(dead.id)
        assert [error["message"] for error in letter.errors] == ["4", "5", "6", "7", "8"]
        assert letter.fields["meta"].count('"tenant":"acme"') == 1


async def test_task_that_a_stopping_worker_hands_back_carries_it_on(
    app: App, meta_in_stream: Any
) -> None:
    began = asyncio.Event()
    go = asyncio.Event()

    @app.task(queue="q", attempts=1)
    async def hold() -> dict[str, Any]:
        began.set()
        await go.wait()
        return {**seen(), "attempt": current().attempt}

    async with app:
        async with app.worker(grace=0.01):
            task = await hold.options(**CARRIED).enqueue()
            await asyncio.wait_for(began.wait(), 10)
        meta = meta_in_stream()
        assert (meta.owner, meta.labels, meta.attempts, meta.uncounted) == (
            "eve", SEEN["labels"], 1, 1,
        )  # fmt: skip
        go.set()
        async with app.worker():
            assert await task.result(timeout=10) == {**SEEN, "attempt": 2}


async def test_replayed_letter_carries_it_on(app: App) -> None:
    @app.task(queue="q", attempts=1)
    async def fail() -> dict[str, Any]:
        if current().attempt == 1:
            raise ValueError
        return seen()

    async with app, app.worker():
        task = await fail.options(**CARRIED).enqueue()
        assert (await task.wait(timeout=10)).status is TaskState.DEAD
        await app.dead_letters()[0].replay(task.id)
        assert await task.result(timeout=10) == SEEN


# -- deadlines ------------------------------------------------------------------------------


async def past(app: App, ms: int) -> None:
    """Wait until so many of the server's milliseconds have passed."""

    async def now() -> int:
        seconds, micros = await app.connections.links()[0].call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    until = await now() + ms
    while await now() <= until:
        pass


async def test_deadline_counts_from_the_first_enqueue_through_retries(app: App) -> None:
    attempts: list[int] = []

    @app.task(queue="q", attempts=10)
    async def fail(late: bool) -> None:
        attempts.append(current().attempt)
        if late:
            await past(app, 120)
        raise Retry("again", after=0.0)

    async with app, app.worker(scheduler_interval=0.02):
        late = await fail.options(deadline=0.1).enqueue(True)
        with pytest.raises(TaskExpired):
            await late.result(timeout=10)
        assert attempts == [1]
        attempts.clear()
        in_time = await fail.options(deadline=60.0).enqueue(False)
        assert (await in_time.wait(timeout=20)).status is TaskState.DEAD
        assert attempts == list(range(1, 11))


async def test_deadline_counts_from_the_first_enqueue_through_a_release(app: App) -> None:
    began = asyncio.Event()

    @app.task(queue="q")
    async def hold() -> None:
        began.set()
        await asyncio.Event().wait()

    async with app:
        async with app.worker(grace=0.01):
            task = await hold.options(deadline=0.2).enqueue()
            await asyncio.wait_for(began.wait(), 10)
        await past(app, 210)
        async with app.worker():
            with pytest.raises(TaskExpired):
                await task.result(timeout=10)


async def test_deadline_counts_from_the_enqueue_and_not_from_when_a_delay_ends(app: App) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    async with app, app.worker(scheduler_interval=0.02):
        late = await work.options(delay=0.15, deadline=0.05).enqueue()
        with pytest.raises(TaskExpired):
            await late.result(timeout=10)


# -- bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"labels": {str(n): "x" for n in range(17)}},
        {"labels": {"a": "x" * 200}},
        {"headers": {"a": "x" * 8192}},
        {"headers": {"a": 1}},
    ],
)
def test_what_is_too_much_is_refused_before_it_is_sent(app: App, options: Any) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    with pytest.raises(InvalidArguments):
        work.options(**options)
