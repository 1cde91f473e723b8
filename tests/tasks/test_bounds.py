"""Queues with a bound: what it refuses, of calls that go out together and of bulk calls."""

from __future__ import annotations

import asyncio

import pytest
import redis
from tests.eventually import eventually

from castwork import App, Task, TaskFunction, TaskState
from castwork.model.errors import PartlyEnqueued, PayloadTooLarge, QueueFull
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys
from castwork.tasks import bulk
from castwork.tasks.gatherer import MOST, MOST_BYTES

Work = TaskFunction[[str], None]


def declare(app: App, max_depth: int) -> Work:
    app.queue("q", max_depth=max_depth)

    @app.task(queue="q")
    async def work(text: str) -> None: ...

    return work


async def depth(app: App) -> int:
    [info] = await app.queues()
    return info.depth


async def at_once(*calls: tuple[Work, str]) -> list[Task[None] | BaseException]:
    return await asyncio.gather(
        *(function.enqueue(text) for function, text in calls), return_exceptions=True
    )


async def test_group_that_meets_the_bound_is_refused_in_part(app: App) -> None:
    work = declare(app, 5)
    async with app:
        outcomes = await at_once(*[(work, str(n)) for n in range(9)])
        made = [one for one in outcomes if isinstance(one, Task)]
        refused = [one for one in outcomes if isinstance(one, QueueFull)]
        assert (len(made), len(refused)) == (5, 4)
        assert outcomes[:5] == made, "the first come first"
        assert {(error.queue, error.depth) for error in refused} == {("q", 5)}
        assert await depth(app) == 5
        assert [(await task.status()).status for task in made] == ["queued"] * 5


async def test_calls_of_a_group_are_refused_whatever_their_options(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    work = declare(app, 6)
    urgent, owned = work.options(priority="high"), work.options(owner="eve")
    async with app:
        outcomes = await at_once(
            (work, "0"), (urgent, "1"), (owned, "2"), (owned, "3"), (work, "4"), (urgent, "5"),
            (urgent, "6"), (owned, "7"), (work, "8"),
        )  # fmt: skip
        assert [isinstance(one, Task) for one in outcomes] == [True] * 6 + [False] * 3
        lanes = QueueKeys.of(namespace, Queue("q")).lanes
        texts = [
            [fields[b"call"].split(b'"')[3].decode() for _, fields in plain.xrange(lane)]
            for lane in lanes
        ]
        assert texts == [["1", "5"], ["0", "2", "3", "4"], []]
        made = [one for one in outcomes if isinstance(one, Task)]
        assert [(await task.status()).status for task in made] == ["queued"] * 6


async def test_named_calls_of_a_group_are_refused_in_part(app: App) -> None:
    work = declare(app, 3)
    async with app:
        keyed = [(work.options(key=f"k{n}"), "") for n in range(5)]
        outcomes = await at_once(*keyed)
        assert [isinstance(one, Task) for one in outcomes] == [True] * 3 + [False] * 2
        again = await at_once(*keyed)
        assert [isinstance(one, Task) for one in again] == [True] * 3 + [False] * 2
        assert not any(one.created for one in again if isinstance(one, Task))
        assert await depth(app) == 3


async def test_full_queue_takes_tasks_again_when_it_has_room(app: App) -> None:
    work = declare(app, 2)
    async with app:
        made = [await work.enqueue("") for _ in range(2)]
        with pytest.raises(QueueFull):
            await work.enqueue("")
        assert await made[0].cancel()
        assert (await work.enqueue("")).created


async def test_bulk_calls_are_accepted_group_by_group_whole(app: App) -> None:
    work = declare(app, 2 * MOST + 100)
    async with app:
        with pytest.raises(PartlyEnqueued) as caught:
            await work.enqueue_many([str(n) for n in range(3 * MOST)])
        assert isinstance(caught.value.__cause__, QueueFull)
        assert f"{2 * MOST} of {3 * MOST} calls were accepted" in str(caught.value)
        accepted, refused = caught.value.tasks[: 2 * MOST], caught.value.tasks[2 * MOST :]
        assert refused == [None] * MOST
        assert (await accepted[-1].status()).status is TaskState.QUEUED
        assert await accepted[0].cancel()
        assert await depth(app) == 2 * MOST - 1
        made = await work.enqueue_many([""] * 100)
        assert len({task.id for task in made}) == 100
        with pytest.raises(QueueFull):
            await work.enqueue_many(["", ""])
        assert await depth(app) == 2 * MOST + 99


async def test_bulk_calls_of_many_bytes_go_in_more_groups(app: App) -> None:
    work = declare(app, 2)
    async with app:
        with pytest.raises(PartlyEnqueued):
            await work.enqueue_many(["x" * (MOST_BYTES + 1)] * 3)
        assert await depth(app) == 2


async def test_bulk_calls_keep_their_order_and_their_ids(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    work = declare(app, 0)
    async with app:
        made = await work.options(priority="low").enqueue_many([str(n) for n in range(600)])
        lane = QueueKeys.of(namespace, Queue("q")).lanes[2]
        calls = [fields[b"call"].split(b" ") for _, fields in plain.xrange(lane)]
        assert [call[2] for call in calls] == [b'{"text":"%d"}' % n for n in range(600)]
        assert [call[1].decode() for call in calls] == [task.id[-14:] for task in made]
        assert len({task.id[-14:-8] for task in made}) == 1, "told on one channel, its own"
        assert (await work.enqueue("")).id[-14:-8] != made[0].id[-14:-8]


async def test_bulk_call_with_one_payload_over_the_limit_adds_nothing(app: App) -> None:
    work = declare(app, 0)
    async with app:
        with pytest.raises(PayloadTooLarge):
            await work.enqueue_many(["a", "x" * 1_000_001, "b"])
        assert await depth(app) == 0


async def test_bulk_call_of_nothing_is_nothing(app: App) -> None:
    work = declare(app, 1)
    async with app:
        assert await work.enqueue_many([]) == []


async def test_bulk_calls_for_later_are_accepted_as_far_as_there_is_room(app: App) -> None:
    work = declare(app, 0)
    async with app:
        later = work.options(delay=600)
        made = await later.enqueue_many([str(n) for n in range(2 * MOST)])
        assert len({task.id for task in made}) == 2 * MOST


async def test_few_groups_are_under_way_and_none_follows_one_that_failed() -> None:
    under_way: list[list[bytes]] = []
    most = 0
    go_on = asyncio.Event()

    async def send(group: list[bytes]) -> list[bytes]:
        nonlocal most
        under_way.append(group)
        most = max(most, len(under_way))
        await go_on.wait()
        under_way.remove(group)
        if group == [b"9"]:
            raise QueueFull("q", 9)
        return group

    groups = [[b"%d" % n] for n in range(30)]
    sending = asyncio.ensure_future(bulk.send_groups(groups, send))
    await eventually(lambda: len(under_way) == 8)
    go_on.set()
    answers = await sending
    assert most == 8
    assert answers[:9] == groups[:9]
    assert isinstance(answers[9], QueueFull)
    assert answers[10:17] == groups[10:17]
    assert answers[17:] == [None] * 13
