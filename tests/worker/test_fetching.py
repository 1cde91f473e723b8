"""The fetcher's and the reader's passes: what is claimed, and how queues wait in one read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.eventually import eventually
from tests.worker.conftest import MakeRoles, only

from castwork import App, TaskState
from castwork.redis.replies import NoGroup
from castwork.store.claims import Batch
from castwork.store.place import QueuePlace
from castwork.store.queue_store import QueueStore
from castwork.store.reads import BlockingReads
from castwork.worker.reader import Reader


async def test_a_claim_takes_and_begins_what_waits(app: App, make_roles: MakeRoles) -> None:
    ran: list[int] = []

    @app.task(queue="q")
    async def work(number: int) -> None:
        ran.append(number)

    roles = await make_roles(capacity=10)
    await work.enqueue_many(range(5))

    assert await roles.fetcher.claim(3) == 3
    assert ran == [0, 1, 2], "short ones have run when it returns"
    assert await roles.fetcher.claim(10) == 2
    assert await roles.fetcher.claim(10) == 0
    await roles.finisher.drain()
    assert roles.finisher.counts == {"succeeded": 5}


async def test_what_was_claimed_unheard_is_found_by_a_sweep(
    app: App, make_roles: MakeRoles
) -> None:
    @app.task(queue="q")
    async def work(number: int) -> int:
        return number

    roles = await make_roles()
    tasks = [await work.options(priority=lane).enqueue(3) for lane in ("high", "low")]
    await roles.claims.claim(10, [0, 0, 0])  # and the reply was lost

    assert await roles.fetcher.sweep() == 2
    assert await roles.fetcher.sweep() == 0, "they run already"
    assert [await task.result(timeout=10) for task in tasks] == [3, 3]
    await roles.finisher.drain()
    assert await roles.fetcher.sweep() == 0
    assert (await tasks[0].status()).attempts == 1


async def test_a_sweep_looks_behind_all_that_is_held(app: App, make_roles: MakeRoles) -> None:
    go = asyncio.Event()

    @app.task(queue="q")
    async def work() -> None:
        await go.wait()

    roles = await make_roles(capacity=2)
    await work.enqueue_many([()] * 7)
    roles.runner.begin(await roles.claims.claim(6, [0, 0, 0]))
    await roles.claims.claim(1, [0, 0, 0])  # and the reply was lost
    assert await roles.fetcher.sweep() == 1
    go.set()


class Waiting:
    """A queue without tasks to run, for the reader."""

    def __init__(self, store: QueueStore, wants: int = 1) -> None:
        self.place: QueuePlace = store.place
        self.wants = wants
        self.may_read = True
        self.rank = 0
        self.taken: list[Batch] = []

    def take(self, batch: Batch) -> None:
        self.taken.append(batch)


@pytest.fixture
async def stores(app: App) -> list[QueueStore]:
    for name in ("a", "b", "c"):

        @app.task(queue=name, name=f"work-{name}")
        async def work() -> None: ...

    await app.open()
    stores = app.tasks.stores()
    for store in stores:
        await store.claims("alice").create_groups()
    return stores


@pytest.fixture
async def reader(app: App, stores: list[QueueStore]) -> AsyncIterator[Reader]:
    link = await app.connections.dedicated(stores[0].place.slot, "reader", patience=40.0)
    made = Reader(BlockingReads(link, "alice"), block=30.0)
    running = asyncio.create_task(made.run())
    yield made
    await made.stop()
    await asyncio.wait_for(running, 5)
    await made.close()


def blocked_reads(plain: redis.Redis) -> int:
    return sum(
        client["name"] == "castwork-reader" and "b" in client["flags"]
        for client in plain.client_list()
    )


@pytest.mark.one_server("one read names keys of several slots")
async def test_queues_wait_in_one_read_and_each_gets_its_own(
    app: App, stores: list[QueueStore], reader: Reader, plain: redis.Redis
) -> None:
    queues = [Waiting(store) for store in stores]
    waits = [asyncio.create_task(reader.wait(queue)) for queue in queues]
    await eventually(lambda: blocked_reads(plain) == 1)

    await app.tasks.get("work-b").enqueue()
    batch = await asyncio.wait_for(waits[1], 5)
    assert batch is not None
    assert [lane for lane, _ in batch.lanes] == [1]
    assert [len(queue.taken) for queue in queues] == [0, 1, 0], "begun before it is told"

    # The others wait on: they join the next read by themselves.
    await app.tasks.get("work-c").enqueue()
    assert await asyncio.wait_for(waits[2], 5) is not None
    assert not waits[0].done()
    await app.tasks.get("work-a").enqueue()
    assert await asyncio.wait_for(waits[0], 5) is not None


@pytest.mark.one_server("one read names keys of several slots")
async def test_a_queue_that_becomes_idle_joins_the_read_of_the_others(
    app: App, stores: list[QueueStore], reader: Reader, plain: redis.Redis
) -> None:
    first, later = Waiting(stores[0]), Waiting(stores[1])
    waits = [asyncio.create_task(reader.wait(first))]
    await eventually(lambda: blocked_reads(plain) == 1)
    waits.append(asyncio.create_task(reader.wait(later)))

    await app.tasks.get("work-b").enqueue()  # far sooner than the first read would end
    assert await asyncio.wait_for(waits[1], 5) is not None
    await app.tasks.get("work-a").enqueue()
    assert await asyncio.wait_for(waits[0], 5) is not None


@pytest.mark.one_server("one read names keys of several slots")
async def test_a_queue_that_becomes_idle_just_when_a_read_begins_does_not_wait_for_its_end(
    app: App, stores: list[QueueStore], reader: Reader
) -> None:
    for turns in range(300):
        first = asyncio.create_task(reader.wait(Waiting(stores[0])))
        for _ in range(turns % 6):
            await asyncio.sleep(0)
        later = asyncio.create_task(reader.wait(Waiting(stores[1])))
        await app.tasks.get("work-b").enqueue()
        assert await asyncio.wait_for(later, 10) is not None
        await app.tasks.get("work-a").enqueue()
        assert await asyncio.wait_for(first, 10) is not None


@pytest.mark.one_server("one read names keys of several slots")
async def test_a_read_that_brings_tasks_for_two_queues_hands_each_its_own(
    app: App, stores: list[QueueStore], reader: Reader
) -> None:
    queues = [Waiting(store, wants=2) for store in stores]
    await app.tasks.get("work-a").enqueue()
    await app.tasks.get("work-c").options(priority="high").enqueue()
    await app.tasks.get("work-c").enqueue()
    waits = [asyncio.create_task(reader.wait(queue)) for queue in queues]

    await asyncio.wait_for(asyncio.gather(waits[0], waits[2]), 5)
    brought = [[lane for batch in queue.taken for lane, _ in batch.lanes] for queue in queues]
    assert brought == [[1], [], [0, 1]]
    assert not waits[1].done()
    await app.tasks.get("work-b").enqueue()
    assert await asyncio.wait_for(waits[1], 5) is not None


async def test_a_read_brings_as_many_as_the_queue_that_has_least_room(
    app: App, stores: list[QueueStore], reader: Reader
) -> None:
    await app.tasks.get("work-a").enqueue_many([()] * 3)

    batch = await asyncio.wait_for(reader.wait(Waiting(stores[0], wants=2)), 5)
    assert batch is not None
    assert [len(entries) for _, entries in batch.lanes] == [2]
    assert batch.filled

    batch = await asyncio.wait_for(reader.wait(Waiting(stores[0], wants=2)), 5)
    assert batch is not None
    assert [len(entries) for _, entries in batch.lanes] == [1]
    assert not batch.filled, "the lane held no more"


async def test_a_read_that_fails_is_told_to_those_who_waited(
    stores: list[QueueStore], reader: Reader, plain: redis.Redis
) -> None:
    plain.delete(stores[0].place.keys.lanes[0])

    with pytest.raises(NoGroup):
        await asyncio.wait_for(reader.wait(Waiting(stores[0])), 5)
    await stores[0].claims("alice").create_groups()
    waiting = asyncio.create_task(reader.wait(Waiting(stores[0])))
    await eventually(lambda: blocked_reads(plain) == 1)
    waiting.cancel()


async def test_a_reader_that_stops_ends_its_read_on_the_server(
    stores: list[QueueStore], reader: Reader, plain: redis.Redis
) -> None:
    waiting = asyncio.create_task(reader.wait(Waiting(stores[0])))
    await eventually(lambda: blocked_reads(plain) == 1)

    await reader.stop()
    assert await asyncio.wait_for(waiting, 5) is None
    assert await reader.wait(Waiting(stores[0])) is None
    assert blocked_reads(plain) == 0


@pytest.mark.one_server("one read names keys of several slots")
async def test_twenty_queues_share_a_read_and_adopted_ones_have_their_own(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    for number in range(20):

        @app.task(queue=f"queue{number}", name=f"work{number}")
        async def work(value: int) -> int:
            return value

    @app.task(stream=f"{namespace}:events")
    async def adopt(prompt: str) -> str:
        return prompt.upper()

    before = {client["id"] for client in plain.client_list()}
    async with app, app.worker(lease=60.0):
        await eventually(lambda: sum("b" in client["flags"] for client in plain.client_list()) == 2)
        ours = [client for client in plain.client_list() if client["id"] not in before]
        # Commands, pushes, the leases' thread once it has renewed something, and two reads.
        assert len(ours) <= 5
        tasks = [await app.tasks.get(f"work{n}").enqueue(n) for n in range(20)]
        entry = plain.xadd(f"{namespace}:events", {"prompt": "hi"})
        assert [await task.result(timeout=10) for task in tasks] == list(range(20))
        adopted = app.get_task(f"{namespace}:events:workers:{entry.decode()}")
        assert await adopted.result(timeout=10) == "HI"


async def test_an_idle_worker_asks_for_what_it_has_room_for_in_every_lane(
    app: App, make_roles: MakeRoles
) -> None:
    go = asyncio.Event()

    @app.task(queue="q")
    async def hold() -> None:
        await go.wait()

    roles = await make_roles(capacity=9)
    assert roles.fetcher.wants == 3
    await hold.enqueue_many([()] * 3)
    await roles.fetcher.claim(1)
    assert roles.fetcher.wants == 2
    await roles.fetcher.claim(2)
    assert roles.fetcher.wants == 2, "6 slots for 3 lanes"
    go.set()


async def test_stopping_keeps_what_was_claimed_from_beginning(
    app: App, make_roles: MakeRoles
) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    roles = await make_roles()
    task = await work.enqueue()
    roles.runner.stop()

    assert await roles.fetcher.claim(5) == 1
    await roles.finisher.drain()
    assert roles.finisher.counts == {"release": 1}
    assert len(roles.workload) == 0
    status = await task.status()
    assert (status.status, status.attempts) == (TaskState.QUEUED, 0)


async def test_what_is_already_held_is_not_begun_twice(app: App, make_roles: MakeRoles) -> None:
    go = asyncio.Event()
    runs = 0

    @app.task(queue="q")
    async def work() -> None:
        nonlocal runs
        runs += 1
        await go.wait()

    roles = await make_roles()
    await work.enqueue()
    await roles.fetcher.claim(1)
    attempt = only(roles)

    roles.runner.begin(Batch(0, [(1, [(attempt.entry_id, attempt.fields)])]))
    await asyncio.sleep(0)
    assert (runs, roles.workload.running) == (1, 1)
    go.set()
