"""One pass of each role that looks after tasks: it does what is due, and says how much that was."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest
import redis
from tests.eventually import eventually
from tests.worker.conftest import MakeRoles, only

from castwork import App, TaskState
from castwork.model.errors import TaskExpired
from castwork.model.worker_info import WorkerInfo
from castwork.redis.replies import NoGroup
from castwork.store.members import Members
from castwork.store.place import RegisterPlace
from castwork.tasks.kinds import CoroutineFunction
from castwork.worker.attempt import Ending
from castwork.worker.heartbeat import Heartbeat
from castwork.worker.lease import LeaseKeeper
from castwork.worker.queue_roles import QueueRoles
from castwork.worker.timeouts import Timeouts
from castwork.worker.watchdog import Watchdog


@pytest.fixture
def go() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def hold(app: App, go: asyncio.Event) -> CoroutineFunction[[], int]:
    @app.task(queue="q", timeout=30.0)
    async def hold() -> int:
        await go.wait()
        return 1

    return hold


Hold = CoroutineFunction[[], int]


def expire(plain: redis.Redis, roles: QueueRoles) -> None:
    """Nothing has been heard of any task for a minute, by the server's clock."""
    group = roles.workload.queue.group
    for stream in roles.workload.store.place.keys.lanes:
        for one in plain.xpending_range(stream, group, "-", "+", 100):
            plain.xclaim(
                stream, group, one["consumer"], 0, [one["message_id"]], idle=60_000, justid=True
            )


# -- recovery -------------------------------------------------------------------------------


async def test_recovery_takes_over_what_a_lost_worker_left(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis, go: asyncio.Event
) -> None:
    lost, heir = await make_roles("lost"), await make_roles("heir")
    tasks = await hold.enqueue_many([()] * 3)
    await lost.fetcher.claim(3)

    assert await heir.recovery.sweep() == 0, "its leases are fresh"
    expire(plain, lost)
    assert await heir.recovery.sweep() == 3
    assert await heir.recovery.sweep() == 0
    assert {attempt.number for attempt in heir.workload.attempts} == {2}

    go.set()  # both end them now
    assert [await task.result(timeout=10) for task in tasks] == [1, 1, 1]
    await lost.finisher.drain()
    await heir.finisher.drain()
    assert (lost.finisher.counts, heir.finisher.counts) == ({"lease_lost": 3}, {"succeeded": 3})
    assert (await tasks[0].status()).worker == "heir"


async def test_a_deadline_that_passed_while_the_task_was_lost_is_kept(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    lost, heir = await make_roles("lost"), await make_roles("heir")
    late = await hold.options(deadline=0.2).enqueue()
    early = await hold.options(deadline=60).enqueue()
    await lost.fetcher.claim(2)
    await eventually(lambda: _ages(plain, lost) > 300)
    expire(plain, lost)

    assert await heir.recovery.sweep() == 2
    assert (await late.wait(timeout=10)).status is TaskState.EXPIRED
    assert [attempt.task_id for attempt in heir.workload.attempts] == [early.id]


def _ages(plain: redis.Redis, roles: QueueRoles) -> int:
    """Milliseconds since the queue's first entry was added, by the server's clock."""
    seconds, micros = plain.time()  # type: ignore[misc]
    [[entry, _]] = plain.xrange(roles.workload.store.place.keys.lanes[1], count=1)
    return int(seconds * 1000 + micros // 1000) - int(entry.partition(b"-")[0])


async def test_recovery_takes_no_more_than_there_are_free_slots(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    lost, heir = await make_roles("lost", capacity=20), await make_roles("heir", capacity=4)
    await hold.enqueue_many([()] * 15)
    await lost.fetcher.claim(15)
    expire(plain, lost)

    assert await heir.recovery.sweep() == 4
    assert await heir.recovery.sweep() == 0
    big = await make_roles("big", capacity=50)
    assert await big.recovery.sweep() == 10, "little at a time"
    assert await big.recovery.sweep() == 1, "and it goes on from there"


async def test_recovery_says_when_there_is_no_group_to_sweep(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    roles = await make_roles()
    plain.delete(*roles.workload.store.place.keys.lanes)

    with pytest.raises(NoGroup):
        await roles.recovery.sweep()


def lose_twice(roles: QueueRoles, plain: redis.Redis) -> None:
    """Make the pending entries look as if two workers were lost with each."""
    group = roles.workload.queue.group
    for stream in roles.workload.store.place.keys.lanes:
        for one in plain.xpending_range(stream, group, "-", "+", 100):
            plain.xclaim(stream, group, "lost", 0, [one["message_id"]], idle=60_000, retrycount=2)


async def test_what_two_workers_were_lost_with_runs_alone(
    app: App, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    beside: list[int] = []

    @app.task(queue="q")
    async def count() -> None:
        beside.append(len(heir.workload))
        await asyncio.sleep(0)

    lost, heir = await make_roles("lost"), await make_roles("heir")
    await count.enqueue_many([()] * 3)
    lost.runner.stop()  # claims them, and never begins
    batch = await lost.claims.claim(3, [0, 0, 0])
    assert len(batch.lanes[0][1]) == 3
    lose_twice(lost, plain)

    assert await heir.recovery.sweep() == 3
    await heir.finisher.drain()
    assert (beside, heir.finisher.counts) == ([1, 1, 1], {"succeeded": 3})
    assert not heir.workload.paused
    assert heir.workload.free == 10


async def test_what_comes_while_one_runs_alone_goes_back(
    app: App, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    waits = asyncio.Event()

    @app.task(queue="q")
    async def work() -> None:
        await waits.wait()

    lost, heir = await make_roles("lost"), await make_roles("heir")
    suspect = await work.enqueue()
    await lost.claims.claim(1, [0, 0, 0])
    lose_twice(lost, plain)
    sweep = asyncio.create_task(heir.recovery.sweep())
    await eventually(lambda: len(heir.workload) == 1)
    assert heir.workload.free == 0

    neighbour = await work.enqueue()
    heir.fetcher.take(await heir.claims.claim(1, [0, 0, 0]))  # as a read that was under way
    await heir.finisher.drain()
    assert [a.task_id for a in heir.workload.attempts] == [suspect.id]
    assert (await neighbour.status()).attempts == 0
    waits.set()
    assert await sweep == 1


async def test_what_runs_alone_may_wait_for_a_task_of_the_same_worker(
    app: App, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    @app.task(queue="q")
    async def child() -> int:
        return 7

    @app.task(queue="q")
    async def parent() -> int:
        return await (await child.enqueue()).result()

    lost, heir = await make_roles("lost"), await make_roles("heir")
    suspect = await parent.enqueue()
    await lost.claims.claim(1, [0, 0, 0])
    lose_twice(lost, plain)

    assert await heir.recovery.sweep() == 1
    await heir.fetcher.claim(1)
    assert await suspect.result(timeout=10) == 7


async def test_a_busy_worker_leaves_suspects_to_others(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis, go: asyncio.Event
) -> None:
    lost, busy = await make_roles("lost"), await make_roles("busy", patience=0.1)
    await hold.enqueue()
    await lost.claims.claim(1, [0, 0, 0])
    lose_twice(lost, plain)
    await hold.enqueue()
    await busy.fetcher.claim(1)

    assert await busy.recovery.sweep() == 0
    assert busy.workload.free == 9, "and goes on claiming"
    go.set()
    await eventually(lambda: len(busy.workload) == 0)
    assert await busy.recovery.sweep() == 1


# -- schedule -------------------------------------------------------------------------------


async def test_the_scheduler_queues_what_is_due_and_tells_when_to_look_again(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    roles = await make_roles()
    keys = roles.workload.store.place.keys
    assert 0.4 <= await roles.scheduler.promote() <= 0.6
    task = await hold.options(delay=60).enqueue()
    assert 0.4 <= await roles.scheduler.promote() <= 0.6

    seconds, micros = plain.time()
    plain.zadd(keys.due, {task.id: seconds * 1000 + micros // 1000 + 200})
    assert await roles.scheduler.promote() <= 0.202, "just when the next one is due"
    plain.zadd(keys.due, {task.id: 1})
    await roles.scheduler.promote()
    assert (await task.status()).status is TaskState.QUEUED
    assert await roles.fetcher.claim(5) == 1


async def test_the_scheduler_queues_many_in_several_looks(
    hold: Hold, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    roles = await make_roles()
    keys = roles.workload.store.place.keys
    tasks = await hold.options(delay=60).enqueue_many([()] * 150)
    plain.zadd(keys.due, {task.id: 1 for task in tasks})

    assert await roles.scheduler.promote() == 0.0
    assert plain.zcard(keys.due) == 50
    assert await roles.scheduler.promote() > 0.0
    assert plain.zcard(keys.due) == 0


# -- announcements --------------------------------------------------------------------------


async def test_the_announcer_tells_once_that_a_task_runs(hold: Hold, make_roles: MakeRoles) -> None:
    roles = await make_roles(announce_after=0.0)
    roles.announcer.stop()
    task = await hold.enqueue()
    await roles.fetcher.claim(1)
    attempt = only(roles)
    attempt.announced = False

    assert await roles.announcer.announce() == 1
    status = await task.status()
    assert (status.status, status.worker, status.attempts) == (TaskState.RUNNING, "alice", 1)
    assert status.started_at is not None
    assert await roles.announcer.announce() == 0


async def test_short_tasks_are_not_announced(
    hold: Hold, make_roles: MakeRoles, go: asyncio.Event
) -> None:
    roles = await make_roles(announce_after=60.0)
    await hold.enqueue()
    await roles.fetcher.claim(1)
    assert await roles.announcer.announce() == 0, "it has not run for long"

    only(roles).launched_at -= 60
    go.set()
    await asyncio.gather(*(a.runner for a in roles.workload.attempts if a.runner is not None))
    assert await roles.announcer.announce() == 0, "it is over"


# -- heartbeat ------------------------------------------------------------------------------


async def test_a_heartbeat_puts_the_worker_on_the_register(app: App) -> None:
    await app.open()
    members = Members.of_workers(RegisterPlace(app.connections, app.settings.namespace))
    info = WorkerInfo("w1", "host", 7, 0.0, ["q"], 10, 0, [], {})
    heartbeat = Heartbeat(members, "w1", interval=2.0, describe=lambda: info)

    await heartbeat.begin()
    await heartbeat.beat()
    [worker] = await app.workers()
    assert (worker["id"], worker["pid"], worker["capacity"]) == ("w1", 7, 10)
    await heartbeat.leave()
    assert await app.workers() == []


# -- control --------------------------------------------------------------------------------


async def test_who_cancels_is_heard_for_what_runs_and_for_what_waits_its_turn(
    hold: Hold, make_roles: MakeRoles
) -> None:
    roles = await make_roles(capacity=1)
    tasks = await hold.enqueue_many([()] * 3)
    roles.runner.begin(await roles.claims.claim(3, [0, 0, 0]))
    await roles.control.start()

    assert await asyncio.gather(*(task.cancel(timeout=10) for task in tasks)) == [True] * 3
    await roles.finisher.drain()
    assert roles.finisher.counts == {"cancelled": 3}
    assert [(await task.status()).status for task in tasks] == [TaskState.CANCELLED] * 3
    roles.control.stop()


async def test_a_pause_that_is_told_during_a_look_is_not_undone_by_its_answer(
    hold: Hold, make_roles: MakeRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = await make_roles()
    store = roles.workload.store
    look, looks = store.pauses.is_paused, []

    async def look_as_it_is_paused() -> bool:
        answer = await look()
        looks.append(answer)
        if len(looks) == 1:  # the answer was on its way when the queue was paused
            await store.pauses.pause()
            await eventually(lambda: roles.workload.paused)
        return answer

    monkeypatch.setattr(store.pauses, "is_paused", look_as_it_is_paused)
    await roles.control.start()
    assert looks == [False, True]
    assert roles.workload.paused
    await store.pauses.resume()
    await eventually(lambda: not roles.workload.paused)
    roles.control.stop()


# -- timeouts -------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 0], ids=["runs", "waits for a slot"])
async def test_what_passes_its_deadline_is_ended_and_expires(
    hold: Hold, make_roles: MakeRoles, go: asyncio.Event, slots: int
) -> None:
    roles = await make_roles(capacity=1)
    if not slots:
        await hold.enqueue()
        await roles.fetcher.claim(1)
    task = await hold.options(deadline=20).enqueue()
    roles.runner.begin(await roles.claims.claim(1, [0, 0, 0]))
    attempt = roles.workload.find(task.id)
    assert attempt is not None
    timeouts = Timeouts([roles.workload])

    assert 0 < attempt.deadline - asyncio.get_running_loop().time() <= 20, "before its timeout"
    assert timeouts.check(attempt.deadline - 0.01) == 0
    assert timeouts.check(attempt.deadline) == 1
    assert attempt.ended_by is Ending.DEADLINE
    go.set()
    await eventually(lambda: attempt.finished)
    await roles.finisher.drain()
    assert (await task.status()).status is TaskState.EXPIRED
    with pytest.raises(TaskExpired, match="deadline"):
        await task.result(timeout=10)


async def test_what_takes_too_long_is_ended_once(hold: Hold, make_roles: MakeRoles) -> None:
    roles = await make_roles()
    task = await hold.enqueue()
    await roles.fetcher.claim(1)
    attempt = only(roles)
    timeouts = Timeouts([roles.workload])

    assert attempt.deadline >= attempt.launched_at + 30.0
    assert timeouts.check(attempt.deadline - 0.01) == 0
    assert timeouts.check(attempt.deadline) == 1
    assert timeouts.check(attempt.deadline + 1) == 0
    assert attempt.ended_by is Ending.TIMEOUT
    assert attempt.runner is not None
    await asyncio.wait([attempt.runner])
    await roles.finisher.drain()
    status = await task.status()
    assert status.status is TaskState.SCHEDULED
    assert status.error is not None
    assert status.error.type == "TimeoutError"


# -- leases ---------------------------------------------------------------------------------


MakeKeeper = Callable[..., LeaseKeeper]


@pytest.fixture
async def make_keeper(app: App) -> AsyncIterator[MakeKeeper]:
    made: list[LeaseKeeper] = []

    def make(roles: QueueRoles, lease: float = 15.0) -> LeaseKeeper:
        watchdog = Watchdog([roles.workload], lease=lease, on_stuck=None)
        made.append(LeaseKeeper(app.connections, [roles.workload], watchdog, lease=lease))
        return made[-1]

    yield make
    for keeper in made:  # its thread closes the connections as it ends
        keeper.start()
        await keeper.stop()


def idle(plain: redis.Redis, roles: QueueRoles) -> list[int]:
    stream = roles.workload.store.place.keys.lanes[1]
    pending = plain.xpending_range(stream, "workers", "-", "+", 50)
    return [one["time_since_delivered"] for one in pending]


async def test_renewing_keeps_what_runs_and_not_what_is_past_its_timeout(
    hold: Hold, make_roles: MakeRoles, make_keeper: MakeKeeper, plain: redis.Redis
) -> None:
    roles = await make_roles()
    await hold.enqueue_many([()] * 3)
    await roles.fetcher.claim(3)
    stuck = roles.workload.attempts[0]
    stuck.deadline = asyncio.get_running_loop().time() - 5
    expire(plain, roles)
    lease = make_keeper(roles)

    assert await asyncio.to_thread(lease.renew) == 0
    assert [ms >= 60_000 for ms in idle(plain, roles)] == [True, False, False]


async def test_a_task_whose_lease_is_lost_is_ended(
    hold: Hold, make_roles: MakeRoles, make_keeper: MakeKeeper, plain: redis.Redis
) -> None:
    roles, heir = await make_roles(), await make_roles("heir")
    await hold.enqueue_many([()] * 2)
    await roles.fetcher.claim(2)
    kept, lost = roles.workload.attempts
    plain.xclaim(
        roles.workload.store.place.keys.lanes[1], "workers", "alice", 0, [lost.entry_id],
        idle=60_000, justid=True,
    )  # fmt: skip
    assert await heir.recovery.sweep() == 1
    lease = make_keeper(roles)

    assert await asyncio.to_thread(lease.renew) == 1
    assert (kept.ended_by, lost.ended_by) == (Ending.NOT, Ending.LOST)
    await eventually(lambda: lost.finished)
    assert roles.finisher.counts == {"lease_lost": 1}
    assert heir.workload.attempts[0].ended_by is Ending.NOT


async def test_the_thread_of_the_leases_starts_and_ends(
    app: App, hold: Hold, make_roles: MakeRoles, plain: redis.Redis
) -> None:
    roles = await make_roles()
    await hold.enqueue()
    await roles.fetcher.claim(1)
    lease = LeaseKeeper(
        app.connections,
        [roles.workload],
        Watchdog([roles.workload], lease=0.6, on_stuck=None),
        lease=0.6,
    )
    expire(plain, roles)
    lease.start()
    await eventually(lambda: idle(plain, roles)[0] < 60_000, what="the thread renews")
    await lease.stop()
    await eventually(
        lambda: "castwork-lease" not in {thread.name for thread in threading.enumerate()}
    )
    assert "castwork-lease" not in {client["name"] for client in plain.client_list()}


# -- watchdog -------------------------------------------------------------------------------


async def test_a_loop_that_turns_is_left_alone(
    hold: Hold, make_roles: MakeRoles, caplog: pytest.LogCaptureFixture
) -> None:
    roles = await make_roles()
    watchdog = Watchdog([roles.workload], lease=15.0, on_stuck=None)

    for _ in range(3):
        await asyncio.to_thread(watchdog.check)
    assert caplog.records == []


async def test_a_blocked_loop_is_named_once_and_called_stuck_past_lease_and_timeout(
    app: App,
    make_roles: MakeRoles,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = threading.Event()

    @app.task(queue="q", timeout=0.5)
    async def block() -> None:
        looked = threading.Thread(target=look)
        looked.start()
        looked.join()  # the loop does not turn before
        checked.set()

    def look() -> None:
        now, at = time.monotonic, asyncio_time()
        for ahead in (1.0, 3.0, 4.0, 20.0, 21.0):
            monkeypatch.setattr(time, "monotonic", lambda ahead=ahead: now() + ahead)
            monkeypatch.setattr(watchdog._loop, "time", lambda ahead=ahead: at + ahead)
            watchdog.check()
        monkeypatch.undo()

    loop = asyncio.get_running_loop()
    asyncio_time: Callable[[], float] = loop.time
    stuck: list[str] = []
    roles = await make_roles()
    watchdog = Watchdog([roles.workload], lease=15.0, on_stuck=stuck.append)
    task = await block.enqueue()
    with caplog.at_level(logging.WARNING, "castwork.worker.watchdog"):
        await roles.fetcher.claim(1)

    assert checked.is_set()
    [line] = [r.getMessage() for r in caplog.records if r.name == "castwork.worker.watchdog"]
    assert f"task {task.id} (block)" in line
    assert len(stuck) == 1
    assert f"task {task.id} (block)" in stuck[0]
