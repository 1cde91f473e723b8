"""Idempotency keys: until when a task has its key, and what a second enqueue with the key does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App, Backoff, Call, KeyConflict, Task, TaskState
from castwork.model.errors import DefinitionError
from castwork.model.queue import Queue
from castwork.model.states import Priority
from castwork.store.keys import QueueKeys


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def go() -> asyncio.Event:
    return asyncio.Event()


def keys_left(plain: redis.Redis, namespace: str) -> list[str]:
    return sorted(plain.scan_iter(f"{{{namespace}:q}}:key:*"))


async def test_by_default_equal_arguments_match_and_others_are_refused(app: App) -> None:
    @app.task(queue="q")
    async def work(text: str, size: int = 1) -> None: ...

    once = work.options(key="k")
    async with app:
        first = await once.enqueue("a")
        again = await once.enqueue(size=1, text="a")  # the same, said in another way
        assert (again.id, again.created, first.created) == (first.id, False, True)
        for call in (once.call("b"), once.call("a", 2)):
            with pytest.raises(KeyConflict, match=r"key 'k' is that of task q-") as caught:
                await call.enqueue()
            assert caught.value.task_id == first.id
        joined = await once.options(key_taken="join").enqueue("b")
        assert (joined.id, joined.created) == (first.id, False)
        assert (await once.options(tenant="other").enqueue("b")).created


@pytest.mark.parametrize("outcome", ["succeeded", "dead", "cancelled", "failed in between"])
async def test_a_key_until_the_end_is_free_when_the_task_has_ended(
    app: App, plain: redis.Redis, namespace: str, runs: list[str], go: asyncio.Event, outcome: str
) -> None:
    @app.task(queue="q", attempts=2 if "between" in outcome else 1, backoff=Backoff(base=0.01))
    async def work(text: str) -> None:
        runs.append(text)
        await go.wait()
        if outcome == "dead" or (outcome == "failed in between" and len(runs) == 1):
            raise ValueError("no")

    once = work.options(key="k", key_until="ended")
    async with app, app.worker(scheduler_interval=0.02):
        first = await once.enqueue("a")
        await eventually(lambda: runs == ["a"])
        assert (await once.enqueue("a")).id == first.id, "it runs, and still has the key"
        if outcome == "cancelled":
            assert await first.cancel()
        go.set()
        await first.wait(timeout=10)
        second = await once.enqueue("b")
        assert second.created
        await second.wait(timeout=10)
        await eventually(lambda: not keys_left(plain, namespace))
    assert runs[-1] == "b"


async def test_a_key_until_the_start_lets_one_more_wait(
    app: App, plain: redis.Redis, namespace: str, runs: list[str], go: asyncio.Event
) -> None:
    @app.task(queue="q")
    async def work(text: str) -> None:
        runs.append(text)
        await go.wait()

    once = work.options(key="k", key_until="started", key_taken="join")
    async with app:
        async with app.worker():
            first = await once.enqueue("a")
            await eventually(lambda: runs == ["a"])
            await app.queue("q").pause()
            second = await once.enqueue("b")
            third = await once.enqueue("c")
            assert (second.created, third.created) == (True, False)
            assert len({first.id, second.id}) == 2
            assert third.id == second.id
            await app.queue("q").resume()
            go.set()
            await asyncio.gather(first.wait(timeout=10), second.wait(timeout=10))
        assert runs == ["a", "b"]
        assert keys_left(plain, namespace) == []


async def test_a_key_that_a_lost_worker_has_not_freed_is_free_all_the_same(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    @app.task(queue="q")
    async def work() -> None: ...

    once = work.options(key="k", key_until="ended")
    keys = QueueKeys.of(namespace, Queue("q"))
    async with app, app.worker():
        for state in ("ended", "gone"):
            first = await once.enqueue()
            await first.wait(timeout=10)
            await eventually(lambda: not keys_left(plain, namespace))
            plain.set(keys.key("work", "", "k"), first.id)  # as if that had not happened
            if state == "gone":
                plain.delete(keys.record(first.id))
            assert (await once.enqueue()).created


@pytest.mark.parametrize("delay", [0.0, 60.0])
@pytest.mark.parametrize("taken", ["replace", "debounce"])
async def test_a_task_that_waits_takes_the_newer_arguments(
    app: App, plain: redis.Redis, namespace: str, runs: list[str], taken: Any, delay: float
) -> None:
    @app.task(queue="q")
    async def work(text: str) -> str:
        runs.append(text)
        return text

    late = work.options(key="k", key_taken=taken, delay=delay, priority="low", labels={"a": "b"})
    keys = QueueKeys.of(namespace, Queue("q"))
    async with app:
        first = await late.enqueue("ä / one")
        due = plain.zscore(keys.due, first.id)
        await asyncio.sleep(0.005)
        second = await late.enqueue("ä / two")
        assert (second.id, second.created) == (first.id, False)
        assert await first.arguments() == {"text": "ä / two"}
        if delay:
            later = plain.zscore(keys.due, first.id)
            assert later is not None
            assert due is not None
            assert (later > due) is (taken == "debounce")
            plain.zadd(keys.due, {first.id: 1})
        with pytest.raises(KeyConflict):
            await late.options(key_taken="match").enqueue("ä / one")
        assert (await late.options(key_taken="match").enqueue("ä / two")).id == first.id
        async with app.worker(scheduler_interval=0.02):
            assert await first.result(timeout=10) == "ä / two"
    assert runs == ["ä / two"]
    assert plain.xlen(keys.own[Priority.LOW]) == 0


async def test_newer_arguments_leave_the_deadline_where_it_was(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    @app.task(queue="q")
    async def work(text: str) -> None: ...

    once = work.options(key="k", key_taken="replace", deadline=60)
    lane = QueueKeys.of(namespace, Queue("q")).own[Priority.NORMAL]
    async with app:
        await once.enqueue("a")
        [(entry, fields)] = plain.xrange(lane)
        assert b"at" not in fields, "the entry's own id tells"
        for text in ("b", "c"):
            assert not (await once.enqueue(text)).created
            [(moved, fields)] = plain.xrange(lane)
            assert moved != entry
            assert fields[b"at"] == entry.partition(b"-")[0]


async def test_a_task_that_runs_keeps_its_arguments(
    app: App, runs: list[str], go: asyncio.Event
) -> None:
    @app.task(queue="q")
    async def work(text: str) -> str:
        runs.append(text)
        await go.wait()
        return text

    once = work.options(key="k", key_taken="replace")
    async with app, app.worker():
        first = await once.enqueue("a")
        await eventually(lambda: runs == ["a"])
        second = await once.enqueue("b")
        assert (second.id, second.created) == (first.id, False)
        go.set()
        assert await second.result(timeout=10) == "a"
    assert runs == ["a"]


async def test_the_function_says_what_gives_its_calls_their_key(app: App) -> None:
    def of_both(call: Call[Any]) -> str:
        return f"{call.arguments['doc']} {call.owner}"

    @app.task(queue="q", key_by="doc", key_until="started", key_taken="join")
    async def by_argument(doc: str = "d0", size: int = 1) -> None: ...

    @app.task(queue="q", key_by=of_both, key_ttl=60)
    async def by_function(doc: int) -> None: ...

    @app.task(queue="q", key_by="tenant", key_until="ended", key_taken="join")
    async def by_tenant(doc: int) -> None: ...

    async def ids(*calls: Call[Any]) -> list[int]:
        tasks: list[Task[Any]] = await app.enqueue_many(calls)
        seen = list(dict.fromkeys(task.id for task in tasks))
        return [seen.index(task.id) for task in tasks]

    async with app:
        call = by_argument.call
        assert await ids(call("d1"), call("d2"), call("d1", 5), call(), call("d0")) == [
            *(0, 1, 0, 2, 2)
        ]
        mine = by_function.options(owner="ann").call
        assert await ids(mine(1), by_function.call(1), mine(1)) == [0, 1, 0]
        assert await ids(
            by_tenant.call(1), by_tenant.options(tenant="t").call(2), by_tenant.call(3)
        ) == [0, 1, 0]
        own = await by_argument.options(key="other").enqueue("d1")
        assert own.created


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_by": "nosuch", "key_until": "ended"}, "no argument is named 'nosuch'"),
        ({"key_by": "doc"}, "needs an end"),
        ({"key_by": "doc", "key_ttl": 60, "key_until": "ended"}, "both key_ttl and key_until"),
        ({"key_until": "ended"}, "give key_by"),
        ({"key_by": "tenant", "key_until": "ended"}, "an argument and a field"),
        ({"key_by": "doc", "key_until": "soon"}, "use started or ended"),
        ({"key_by": "doc", "key_ttl": 60, "key_taken": "win"}, "use match, join, replace or"),
        ({"stream": "s", "key_by": "doc", "key_ttl": 60}, "no priorities, deadlines, keys and"),
    ],
)
def test_what_cannot_be_said_is_refused(app: App, options: dict[str, Any], said: str) -> None:
    async def work(doc: str, tenant: str) -> None: ...

    with pytest.raises(DefinitionError, match=said):
        app.task(**options)(work)


async def test_many_producers_and_workers_never_let_two_tasks_of_a_key_run_at_once(
    app: App,
) -> None:
    running: set[str] = set()
    overlaps: list[str] = []
    count = 0

    @app.task(queue="q", key_by="doc", key_until="ended", key_taken="join")
    async def index(doc: str) -> None:
        nonlocal count
        count += 1
        if doc in running:
            overlaps.append(doc)
        running.add(doc)
        await asyncio.sleep(0.002)
        running.remove(doc)

    async def produce(number: int) -> None:
        for turn in range(40):
            await index.enqueue(f"d{(number + turn) % 7}")
            await asyncio.sleep(0.001)

    async with app, app.worker(concurrency=10), app.worker(concurrency=10):
        await asyncio.gather(*(produce(number) for number in range(8)))
        await app.queue("q").until_idle(timeout=20)
        last = await index.enqueue("d1")
        assert (await last.wait(timeout=10)).status is TaskState.SUCCEEDED
    assert overlaps == []
    assert count > 7


async def test_arguments_that_come_while_the_task_is_given_to_a_worker_make_a_task_of_their_own(
    app: App, plain: redis.Redis, namespace: str, runs: list[str]
) -> None:
    @app.task(queue="q")
    async def work(text: str) -> None:
        runs.append(text)

    once = work.options(key="k", key_until="started", key_taken="replace")
    async with app:
        first = await once.enqueue("a")
        [store] = app.served()
        hand = store.claims("host-1-0123abcd")
        await hand.create_groups()
        await hand.claim(1, [0, 0, 0])  # and its worker has not said that it runs
        second = await once.enqueue("b")
        assert second.created
        assert second.id != first.id
