"""Plain functions that go on after their attempts have ended: their slots stay taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from tests.eventually import eventually
from tests.worker.conftest import MakeRoles, only

from castwork import App, Channel, PlainFunction
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.hung import Hung

Hang = PlainFunction[[], None]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the hanging function waits for."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def hang(app: App, gate: threading.Event) -> Hang:
    @app.task(queue="q", attempts=1)
    def hang() -> None:
        gate.wait(60)

    return hang


async def goes_on(attempt: Attempt) -> None:
    await eventually(lambda: attempt.thread is not None and attempt.thread.running())


async def ended(attempt: Attempt) -> None:
    await eventually(lambda: attempt.finished)


@pytest.mark.parametrize("ending", [Ending.TIMEOUT, Ending.CANCEL, Ending.LOST])
async def test_a_slot_is_taken_for_as_long_as_its_thread(
    app: App, hang: Hang, gate: threading.Event, make_roles: MakeRoles, ending: Ending
) -> None:
    @app.task(queue="q")
    def quick() -> str:
        return "ran"

    roles = await make_roles(capacity=1)
    await hang.enqueue()
    await roles.fetcher.claim(1)
    attempt = only(roles)
    await goes_on(attempt)
    attempt.end(ending)
    await ended(attempt)
    await roles.finisher.drain()

    assert (len(roles.workload), roles.workload.running, roles.workload.free) == (0, 1, 0)
    later = await quick.enqueue()
    fetching = asyncio.create_task(roles.fetcher.run())
    gate.set()
    assert await later.result(timeout=10) == "ran"
    assert not roles.workload.lingering
    await eventually(lambda: roles.workload.running == 0)
    roles.fetcher.stop()
    await roles.fetcher._reader.stop()
    await fetching


async def test_what_waits_for_a_slot_begins_when_the_thread_is_free(
    hang: Hang, gate: threading.Event, make_roles: MakeRoles
) -> None:
    roles = await make_roles(capacity=1)
    await hang.enqueue_many([(), ()])
    roles.runner.begin(await roles.claims.claim(2, [0, 0, 0]))
    first, second = roles.workload.attempts
    await goes_on(first)
    first.end(Ending.CANCEL)
    await ended(first)

    assert second.runner is None
    gate.set()
    await ended(second)
    assert roles.workload.running == 0


async def test_functions_that_hang_are_named_when_no_slot_is_left(
    hang: Hang, gate: threading.Event, make_roles: MakeRoles
) -> None:
    told: list[str] = []
    roles = await make_roles(capacity=2)
    hung = Hung([roles.workload], slots=99, patience=15.0, on_stuck=told.append)
    await hang.enqueue_many([(), ()])
    await roles.fetcher.claim(2)
    for attempt in roles.workload.attempts:
        await goes_on(attempt)
        assert hung.check(monotonic() + 20) == ""
        attempt.end(Ending.TIMEOUT)
        await ended(attempt)

    assert hung.check(monotonic()) == ""
    assert "all 2 slots" in hung.check(monotonic() + 20)
    assert hung.check(monotonic() + 21).endswith(": hang")
    assert len(told) == 1
    gate.set()
    await eventually(lambda: not roles.workload.lingering)
    assert hung.check(monotonic() + 20) == ""


async def test_a_worker_of_nothing_but_hung_functions_stops_to_be_replaced(
    app: App, gate: threading.Event
) -> None:
    @app.task(queue="q", attempts=1, timeout=0.05)
    def hang() -> None:
        gate.wait(60)

    told: list[str] = []
    await app.open()
    worker = app.worker(concurrency=1, lease=0.3, grace=0.5, on_stuck=told.append)
    async with asyncio.timeout(30):
        running = asyncio.create_task(worker.run())
        await hang.enqueue()
        await running
    assert "all 1 slots" in told[0]


async def test_a_timeout_begins_with_the_code(app: App, make_roles: MakeRoles) -> None:
    deadlines: list[float] = []

    @app.task(queue="q", timeout=30.0)
    async def work() -> None:
        deadlines.append(only(roles).deadline)

    roles = await make_roles()
    await work.enqueue()
    roles.runner.begin(await roles.claims.claim(1, [0, 0, 0]))
    only(roles).launched_at -= 100.0  # as if something had blocked the loop since
    began = monotonic()
    await eventually(lambda: bool(deadlines))
    assert began + 30.0 <= deadlines[0] <= monotonic() + 30.0


async def test_a_plain_handler_of_a_group_has_a_thread_of_the_worker(
    app: App, gate: threading.Event
) -> None:
    threads: list[str] = []
    numbers = app.channel("numbers", int, history=10)

    @numbers.subscribe(group="ones")
    def hang(number: int) -> object:
        threads.append(threading.current_thread().name)
        gate.wait(60)
        return object()  # dropped: it has no JSON form, and a group has no results

    await app.open()
    async with app.worker(concurrency=1, lease=5.0):
        await numbers.publish(1)
        await eventually(lambda: bool(threads))
        assert threads[0].startswith("castwork-task")
        gate.set()
        await eventually(lambda: has_acked(numbers), what="the event is handled")
        assert (await app.dead_letters()[0].list()) == []


async def has_acked(numbers: Channel[int]) -> bool:
    place = numbers._histories.place
    [group] = await place.call("XINFO", "GROUPS", numbers.history_stream)
    facts = (
        dict(group) if isinstance(group, dict) else dict(zip(group[::2], group[1::2], strict=True))
    )
    return facts[b"pending"] == 0 and facts[b"entries-read"] == 1


async def test_stopping_waits_for_no_thread_that_tasks_have_taken(
    app: App, gate: threading.Event
) -> None:
    @app.task
    async def fill() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        asyncio.get_running_loop().run_in_executor(None, gate.wait, 60)

    await app.open()
    worker = app.worker(lease=60.0)
    async with asyncio.timeout(20):
        async with worker:
            await (await fill.enqueue()).result()
    gate.set()
