"""Lines: of the tasks of one key one at a time runs, in the order in which they were enqueued."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.worker.conftest import MakeRoles

from castwork import (
    App,
    AppSettings,
    AtOnce,
    Backoff,
    Call,
    Retry,
    Task,
    TaskDead,
    TaskState,
    TaskStatus,
    current,
)
from castwork.model.errors import DefinitionError, ServerRefused
from castwork.store.admissions import Admissions, Asked
from castwork.testing import running

NOW = Backoff(base=0.001)
LATER = Backoff(base=3600.0)


class Together:
    """Counts how many tasks are inside of a block at once."""

    def __init__(self) -> None:
        self.most = 0
        self._inside: Counter[str] = Counter()

    async def stay(self, key: str = "") -> None:
        self._inside[key] += 1
        self.most = max(self.most, self._inside[key])
        await asyncio.sleep(0.001)
        self._inside[key] -= 1


async def held(app: App, count: int, queue: str = "q") -> None:
    """Wait until so many tasks are held back, and no worker holds others that wait."""

    async def is_so() -> bool:
        info = await app.queue(queue).info()
        return info.held == count and not any(info.waiting.values())

    await eventually(is_so, what=f"{count} are held back")


async def is_in(state: TaskState, task: Task[Any]) -> bool:
    return bool((await task.status()).status is state)


async def test_one_at_a_time_per_key_in_the_order_of_enqueueing(app: App) -> None:
    together, order = Together(), dict[str, list[int]]()

    @app.task(queue="q", serial_by="doc", attempts=2, backoff=NOW)
    async def write(doc: str, number: int) -> None:
        await together.stay(doc)
        if number % 7 == 0 and current().attempt == 1:
            raise ValueError
        order.setdefault(doc, []).append(number)

    async with app, app.worker(concurrency=8), app.worker(concurrency=8):
        tasks = [await write.enqueue(f"d{n % 3}", n) for n in range(30)]
        tasks += await write.enqueue_many([(f"d{n % 3}", n) for n in range(30, 60)])
        for task in tasks:
            await task.result(timeout=20)
    assert together.most == 1
    assert order == {f"d{doc}": list(range(doc, 60, 3)) for doc in range(3)}


async def test_followers_wait_for_a_retry_and_go_on_behind_a_death(app: App) -> None:
    order: list[tuple[str, int]] = []

    @app.task(queue="q", serial_by="doc", attempts=2)
    async def write(name: str, doc: str = "a") -> None:
        order.append((name, current().attempt))
        if name == "bad":
            raise Retry(after=0.2)

    async with app, app.worker(scheduler_interval=0.05):
        bad, good = await write.enqueue("bad"), await write.enqueue("good")
        await (await write.enqueue("other", "b")).result(timeout=10)
        with pytest.raises(TaskDead):
            await bad.result(timeout=10)
        await good.result(timeout=10)
        assert [one for one in order if one[0] != "other"] == [("bad", 1), ("bad", 2), ("good", 1)]
        assert (await good.status()).attempts == 1


@pytest.mark.parametrize("where", ["retry", "line", "lane"])
async def test_followers_go_on_behind_a_cancel(app: App, where: str) -> None:
    begun: list[str] = []
    go = asyncio.Event()

    @app.task(queue="q", serial_by="doc", attempts=2, backoff=LATER)
    async def write(name: str, doc: str = "a") -> None:
        begun.append(name)
        if name == "first":
            await go.wait()
            raise ValueError

    async with app:
        first = await write.enqueue("first")
        second, third = await write.enqueue("second"), await write.enqueue("third")
        if where == "lane":
            assert await first.cancel(timeout=5)
        async with app.worker(scheduler_interval=0.05):
            if where != "lane":
                await held(app, 2)
            if where == "line":
                assert await second.cancel(timeout=5)
            if where == "retry":
                go.set()
                await eventually(lambda: is_in(TaskState.SCHEDULED, first))
                assert await is_in(TaskState.QUEUED, second)
            if where != "lane":
                assert await first.cancel(timeout=5)
            await third.result(timeout=10)
    expected = {"retry": ["first", "second", "third"], "line": ["first", "third"]}
    assert begun == expected.get(where, ["second", "third"])


async def test_followers_go_on_behind_a_deadline(app: App) -> None:
    @app.task(queue="q", serial_by="doc")
    async def write(doc: str) -> str:
        return doc

    async with app:
        late = await write.options(deadline=0.001).enqueue("a")
        second = await write.enqueue("a")
        await asyncio.sleep(0.01)
        async with app.worker(scheduler_interval=0.05):
            assert await second.result(timeout=10) == "a"
            assert (await late.wait(timeout=10)).status is TaskState.EXPIRED


async def test_a_delayed_task_joins_its_line_when_its_time_has_come(app: App) -> None:
    begun: list[str] = []

    @app.task(queue="q", serial_by="doc")
    async def write(name: str, doc: str = "a") -> None:
        begun.append(name)

    async with app, app.worker(scheduler_interval=0.05):
        late = await write.options(delay=0.2).enqueue("late")
        await (await write.enqueue("now")).result(timeout=10)
        await late.result(timeout=10)
    assert begun == ["now", "late"]


async def test_a_lost_worker_holds_its_line_for_one_lease() -> None:
    app, begun, go = App(env=None), list[str](), asyncio.Event()

    @app.task(queue="q", serial_by="doc")
    async def write(name: str, doc: str = "a") -> None:
        begun.append(name)
        await go.wait()

    async with running(app) as run:
        tasks = [await write.enqueue(name) for name in ("first", "second")]
        await held(app, 1)
        await run.lose_worker()
        go.set()
        await run.advance(15)
        for task in tasks:
            await task.result(timeout=15)
        assert begun == ["first", "first", "second"]


async def test_tasks_of_other_producers_go_in_the_order_of_claims(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    together, begun = Together(), list[int]()

    @app.task(queue="q", serial_by="doc")
    async def write(number: int, doc: str) -> None:
        begun.append(number)
        await together.stay()

    async with app, app.worker(), app.worker():
        for number in range(10):
            args = f'{{"number":{number},"doc":"a"}}'
            plain.xadd(f"{{{namespace}:q}}:stream:normal", {"task": "write", "args": args})
        await eventually(lambda: len(begun) == 10)
        await app.queue("q").until_idle(timeout=10)
    assert together.most == 1
    assert sorted(begun) == list(range(10))


async def test_a_line_that_another_program_names_badly_holds_nothing_up(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    together, begun = Together(), list[int]()

    @app.task(queue="q")
    async def write(number: int) -> None:
        begun.append(number)
        await together.stay()

    lane = f"{{{namespace}:q}}:stream:normal"
    async with app, app.worker():
        for number in range(6):
            args = f'{{"number":{number}}}'
            meta = ['{"serial":"a\\nb"}', '{"serial":"\\u0000"}'][number % 2]
            plain.xadd(lane, {"task": "write", "args": args, "meta": meta})
        await eventually(lambda: len(begun) == 6)
        await app.queue("q").until_idle(timeout=10)
    assert together.most == 2


async def test_a_task_stays_in_its_line_whatever_its_key_is_by_now(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    keys, begun = ["old"], list[str]()

    @app.task(queue="q", serial_by=lambda _: keys[0], attempts=2, backoff=NOW)
    async def write(name: str) -> None:
        begun.append(name)
        if current().attempt == 1 and name == "first":
            keys[0] = "new"
            raise ValueError

    async with app, app.worker():
        for name in ("first", "second"):
            args = f'{{"name":"{name}"}}'
            plain.xadd(f"{{{namespace}:q}}:stream:normal", {"task": "write", "args": args})
            await eventually(lambda: begun)
        await eventually(lambda: len(begun) == 3)
        await app.queue("q").until_idle(timeout=10)
    assert sorted(begun) == ["first", "first", "second"]


@pytest.mark.parametrize("keep_entries", [False, True])
async def test_an_adopted_stream_has_lines(
    app: App, plain: redis.Redis, namespace: str, keep_entries: bool
) -> None:
    together, begun, stream = Together(), list[int](), f"{namespace}:orders"

    @app.task(stream=stream, queue="orders", serial_by="shop", keep_entries=keep_entries)
    async def bill(number: int, shop: str) -> None:
        begun.append(number)
        await together.stay()

    async with app, app.worker():
        for number in range(10):
            plain.xadd(stream, {"number": number, "shop": "a"})
        await eventually(lambda: len(begun) == 10)
        await app.queue("orders").until_idle(timeout=10)
    assert (begun, together.most) == (list(range(10)), 1)


async def test_a_worker_whose_function_does_not_say_so_keeps_to_the_line_all_the_same(
    app: App, server_url: str, namespace: str
) -> None:
    @app.remote(queue="q", serial_by="doc")
    async def write(number: int, doc: str) -> None: ...

    other, together = App(server_url, settings=AppSettings(namespace=namespace)), Together()

    @other.task(queue="q", name="write")
    async def code(number: int, doc: str) -> None:
        await together.stay()

    async with app, other, other.worker():
        tasks = [await write.enqueue(number, "a") for number in range(10)]
        for task in tasks:
            await task.result(timeout=10)
    assert together.most == 1


async def test_followers_go_on_where_no_function_says_so(
    app: App, server_url: str, namespace: str
) -> None:
    """A worker looks after lines also where only the producers name them."""

    @app.remote(queue="q", serial_by="doc")
    async def write(name: str, doc: str = "a") -> None: ...

    first_worker = App(server_url, settings=AppSettings(namespace=namespace))
    other = App(server_url, settings=AppSettings(namespace=namespace))
    begun: list[str] = []

    async def code(name: str, doc: str = "a") -> None:
        begun.append(name)
        if name == "first":
            raise Retry(after=3600)

    for one in (first_worker, other):
        one.task(queue="q", name="write")(code)
    async with app:
        async with first_worker, first_worker.worker():
            first, second = await write.enqueue("first"), await write.enqueue("second")
            await held(app, 1)
        assert await first.cancel(timeout=5)
        async with other, other.worker(scheduler_interval=0.05, lease=0.3):
            await second.result(timeout=10)
    assert begun == ["first", "second"]


async def test_lines_limits_keys_and_bounds_together(
    app: App, plain: redis.Redis, namespace: str
) -> None:
    app.queue("q", max_depth=1000)
    together, of_tenants = Together(), Together()

    def by_half(call: Call[Any]) -> str:
        return f"{call.tenant}{call.arguments['number'] % 3}"

    @app.task(
        queue="q",
        serial_by=by_half,
        limits=[AtOnce(2, by="tenant")],
        key_by="number",
        key_until="ended",
    )
    async def write(number: int) -> int:
        tenant = current().tenant
        await asyncio.gather(together.stay(f"{tenant}{number % 3}"), of_tenants.stay(tenant))
        return number

    async with app, app.worker():
        tasks = await app.enqueue_many(
            [write.options(tenant=tenant).call(number) for tenant in "ab" for number in range(10)]
        )
        assert [await task.result(timeout=10) for task in tasks] == list(range(10)) * 2
        assert (together.most, of_tenants.most) == (1, 2)
        await app.queue("q").until_idle(timeout=10)
        keys = f"{{{namespace}:q}}:limits:*"
        await eventually(lambda: not list(plain.scan_iter(keys)), what="nothing stays behind")


@pytest.mark.parametrize("hooked", [False, True])
async def test_an_attempt_that_has_lost_its_lease_leaves_the_line_as_it_is(
    app: App, make_roles: MakeRoles, plain: redis.Redis, namespace: str, hooked: bool
) -> None:
    go = asyncio.Event()

    @app.task(queue="q", serial_by="doc")
    async def write(doc: str) -> None:
        await go.wait()

    if hooked:

        @write.on_end
        async def tell(status: TaskStatus) -> None: ...

    task = await write.enqueue("a")
    alice = await make_roles("alice")
    await alice.fetcher.claim(1)
    await eventually(lambda: alice.gate.inside)
    lane = f"{{{namespace}:q}}:stream:normal"
    [entry] = plain.xpending_range(lane, "workers", "-", "+", 1)
    plain.hset(f"{{{namespace}:q}}:robbed", "alice", entry["message_id"])
    plain.xclaim(lane, "workers", "bob", 0, [entry["message_id"]])
    go.set()
    await eventually(lambda: not len(alice.workload))
    await alice.finisher.drain()
    await alice.gate.drain()
    assert alice.finisher.counts == {"lease_lost": 1}
    assert plain.hexists(f"{{{namespace}:q}}:limits:turns", task.id)


@pytest.mark.parametrize(
    ("serial_by", "said"),
    [("dok", "no argument is named 'dok'"), ("", "serial_by is empty"), (7, "give text")],
)
def test_a_line_is_checked_where_it_is_declared(app: App, serial_by: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):

        @app.task(serial_by=serial_by)
        async def write(doc: str) -> None: ...


def test_what_others_write_has_no_tenant(app: App) -> None:
    with pytest.raises(DefinitionError, match="serial_by: entries that others write have no"):

        @app.task(stream="orders", serial_by="tenant")
        async def write(doc: str) -> None: ...


def _spoil(plain: redis.Redis, key: bytes) -> None:
    """Write what is no note of castwork's over, beside and between what a key holds."""
    if plain.type(key) == b"hash":
        for field in plain.hkeys(key):
            plain.hset(key, field, b"\xff{")
        plain.hset(key, b"\xff", b"[]")
        return
    for member, score in plain.zrange(key, 0, -1, withscores=True):
        name = member.split(b"\n")[0]
        plain.zadd(key, dict.fromkeys([name, name + b"\n", name + b"\nx\ny"], score))
    plain.zadd(key, {b"\xff": 0, b"\n": 0, b"a": -1e300, b"z": 5})


@pytest.mark.parametrize(
    "part",
    ["held", "holders", "holding", "lines", "promised", "rates", "specs"]
    + ["turns", "waiters", "waking"],
)
async def test_what_another_program_writes_among_the_limits_holds_no_other_task_up(
    app: App, plain: redis.Redis, namespace: str, part: str
) -> None:
    go = asyncio.Event()

    @app.task(queue="q", serial_by="line", limits=[AtOnce(1, by="who"), AtOnce(50)])
    async def write(line: str, who: str) -> str:
        await go.wait()
        return line

    async with app, app.worker(lease=1.0):
        for line, who in ("ab", "ab", "cb"):
            await write.enqueue(line, who)
        await held(app, 2)
        key = f"{{{namespace}:q}}:limits:{part}".encode()
        _spoil(plain, key)
        go.set()
        for line, who in ("xy", "xz", "ab"):  # of a line and a key of their own, and of those
            assert await (await write.enqueue(line, who)).result(timeout=8) == line
    plain.delete(key)


async def test_a_task_whose_limits_the_server_refuses_waits_alone(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter, refused = Admissions.enter, [""]

    async def refuse(self: Admissions, asked: Sequence[Asked]) -> Any:
        if any(one.delivery.task_id == refused[0] for one in asked):
            raise ServerRefused("ERR no")
        return await enter(self, asked)

    @app.task(queue="q", limits=[AtOnce(50)])
    async def write(number: int) -> int:
        return number

    monkeypatch.setattr(Admissions, "enter", refuse)
    async with app:
        tasks = await app.enqueue_many(write.call(number) for number in range(5))
        refused[0] = tasks[2].id
        async with app.worker():
            for number in (0, 1, 3, 4):
                assert await tasks[number].result(timeout=5) == number
            await eventually(lambda: is_in(TaskState.SCHEDULED, tasks[2]))
            assert (await tasks[2].status()).attempts == 1
