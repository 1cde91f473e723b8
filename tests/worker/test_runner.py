"""The runner: what it reads from entries, when they start, and in what surroundings they run."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worker.conftest import MakeRoles

from castwork import App, current
from castwork.model.settings import Limits
from castwork.store.claims import Batch, RawEntry
from castwork.tasks.chain import Chain
from castwork.worker.attempt import Attempt
from castwork.worker.callers.choose import Callers
from castwork.worker.outcome import Outcome
from castwork.worker.processes.pool import Bounds, Pool
from castwork.worker.runner import Runner
from castwork.worker.understanding import Understanding
from castwork.worker.workload import Workload

NAMES = ["work", "other", "say it", "grüße", "100%"]
WIRE_NAMES = [b"work", b"other", b"say%20it", b"gr%C3%BC%C3%9Fe", b"100%25"]


def declare() -> App:
    app = App()
    for name in NAMES:

        @app.task(queue="q", name=name)
        async def work() -> None: ...

    return app


APP = declare()


class Silent:
    """An announcer that announces nothing, and a finisher that stores nothing."""

    def __init__(self) -> None:
        self.taken: list[tuple[Attempt, Outcome]] = []

    def arm(self) -> None: ...

    def take(self, attempt: Attempt, outcome: Outcome) -> None:
        self.taken.append((attempt, outcome))


class Bench:
    """A runner by itself, that knows every function by now."""

    def __init__(self, capacity: int = 1000) -> None:
        [store] = APP.tasks.stores()
        self.silent: Any = Silent()
        self.workload = Workload(store, "w", capacity)
        callers = Callers(ThreadPoolExecutor(1), Pool(Bounds(1, 0, 0), []), Limits(), Chain())
        understanding = Understanding(self.workload, APP.tasks, callers, unknown_grace=0.0)
        self.runner = Runner(
            self.workload, understanding, 1000, self.silent, self.silent, self.silent
        )
        known = [
            (b"1-%d" % n, [b"call", name + b" 00000000000000 {}"])
            for n, name in enumerate(WIRE_NAMES)
        ]
        self.runner.begin(Batch(0, [(0, known)]))
        for attempt in self.workload.attempts:
            self.workload.discard(attempt)

    def begin(self, lane: int, entries: list[RawEntry], now_ms: int) -> list[tuple[Any, ...]]:
        """What the runner makes of entries that a read brought."""
        self.runner.begin(Batch(now_ms, [(lane, entries)]))
        return self._seen()

    def start(self, lane: int, entries: list[RawEntry], now_ms: int) -> list[tuple[Any, ...]]:
        """What it makes of them one by one."""
        for entry_id, fields in entries:
            attempt = Attempt(self.workload.origins[lane], entry_id, 1, fields)
            self.runner.start(attempt, now_ms)
        return self._seen()

    def _seen(self) -> list[tuple[Any, ...]]:
        refused = {attempt.entry_id: outcome for attempt, outcome in self.silent.taken}
        return [
            (
                a.entry_id, a.task_id, a.producer, a.moved, a.args, a.meta, a.number, a.counted,
                a.deliveries, a.lane, a.allowed, a.runnable and a.runnable.function, a.finished,
                bool(a.launched_at), a.runner is not None, _told(refused.get(a.entry_id)),
            )
            for a in self.workload.attempts
        ]  # fmt: skip


def _told(outcome: Outcome | None) -> Any:
    error = getattr(outcome, "error", None)
    return type(outcome), error and (error.type, error.message, error.attempt)


# -- the two ways in ------------------------------------------------------------------------

digits = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUV", min_size=14, max_size=14)
nonces = st.one_of(
    digits.map(str.encode),
    st.sampled_from([b"", b"-", b"lowercase-nonce", b"0123456789ABC", b"0123456789ABCDE"]),
)
arguments = st.sampled_from([b"{}", b'{"text":"a b  c"}', b"", b"[1, 2]", b"\xff\xfe"])
calls = st.builds(
    lambda name, nonce, args: b" ".join((name, nonce, args)),
    st.sampled_from([*WIRE_NAMES, b"unknown", b"", b"\xff"]),
    nonces,
    arguments,
)
call_fields = st.one_of(calls, st.sampled_from([b"", b"work", b"work 0123456789ABCD", b" "])).map(
    lambda call: [b"call", call]
)
metas = st.sampled_from(
    [b'{"attempts":2}', b'{"owner":"eve"}', b'{"max_attempts":1}', b"{nope", b"", b"[]"]
    + [b'{"attempts":9,"uncounted":1}', b'{"expires_ms":5}', b'{"attempts":-1}']
)
others = st.sampled_from(
    [[], [b"id", b"q:mine"], [b"at", b"77"], [b"more", b"1"], [b"id", b"a\nb"], [b"at", b"x"]]
)
long_forms = st.sampled_from(
    [[b"task", b"work"], [b"task", "grüße".encode(), b"args", b'{"a":1}'], [b"args", b"{}"]]
)
with_others = st.builds(
    lambda first, more, meta: first + more + ([b"meta", meta] if meta is not None else []),
    st.one_of(call_fields, long_forms),
    others,
    st.none() | metas,
)
entry_ids = st.builds(
    lambda ms, count: b"%d-%d" % (ms, count),
    st.integers(2, 2**44 - 1),
    st.one_of(st.integers(0, 3), st.sampled_from([1023, 1024, 2**30 - 1])),
)
entries_of_a_read = st.lists(
    st.tuples(entry_ids, st.one_of(call_fields, with_others)), max_size=8, unique_by=lambda e: e[0]
)


@given(lane=st.integers(0, 2), entries=entries_of_a_read, now_ms=st.sampled_from([0, 2**43]))
def test_short_way_in_reads_an_entry_as_the_long_way_does(
    lane: int, entries: list[RawEntry], now_ms: int
) -> None:
    async def compare() -> None:
        short, long = Bench(), Bench()
        assert short.begin(lane, entries, now_ms) == long.start(lane, entries, now_ms)
        assert short.workload.running == long.workload.running

    asyncio.run(compare())


@given(lane=st.integers(0, 2), entries=entries_of_a_read)
def test_both_ways_keep_to_the_slots(lane: int, entries: list[RawEntry]) -> None:
    async def compare() -> None:
        short, long = Bench(capacity=2), Bench(capacity=2)
        seen = short.begin(lane, entries, 0)
        assert seen == long.start(lane, entries, 0)
        assert sum(a.runner is not None for a in short.workload.attempts) <= 2

    asyncio.run(compare())


async def test_first_delivery_of_a_plain_task_takes_the_short_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, started = Bench(), []
    monkeypatch.setattr(bench.runner, "start", lambda attempt, _: started.append(attempt.entry_id))
    plain = [b"call", b'work PRODU1ABCDEFGH {"number":7}']

    bench.begin(1, [(b"5-0", plain), (b"5-1", [*plain, b"meta", b"{}"]), (b"5-2", plain)], 0)

    assert started == [b"5-1"]
    assert [a.entry_id for a in bench.workload.attempts] == [b"5-0", b"5-2"]


# -- slots ----------------------------------------------------------------------------------


async def test_more_tasks_than_slots_wait_and_start_in_turn(
    app: App, make_roles: MakeRoles
) -> None:
    running: list[int] = []
    gates = [asyncio.Event() for _ in range(6)]

    @app.task(queue="q")
    async def hold(number: int) -> None:
        running.append(number)
        await gates[number].wait()

    roles = await make_roles(capacity=2)
    await hold.enqueue_many(range(6))
    batch = await roles.claims.claim(6, [0, 0, 0])
    assert roles.runner.begin(batch) == 6
    await asyncio.sleep(0)

    assert running == [0, 1]
    assert (roles.workload.running, roles.workload.free) == (6, -4)
    for number in range(6):
        assert running == list(range(min(number + 2, 6)))
        runner = roles.workload.attempts[0].runner
        assert runner is not None
        gates[number].set()
        await runner
        await roles.finisher.drain()
    assert roles.finisher.counts == {"succeeded": 6}
    assert roles.workload.running == 0


async def test_what_waits_for_a_slot_is_handed_back_when_the_worker_stops(
    app: App, make_roles: MakeRoles
) -> None:
    go = asyncio.Event()

    @app.task(queue="q")
    async def hold() -> None:
        await go.wait()

    roles = await make_roles(capacity=1)
    tasks = await hold.enqueue_many([()] * 3)
    roles.runner.begin(await roles.claims.claim(3, [0, 0, 0]))

    assert roles.runner.release_waiting() == 2
    go.set()
    assert (await tasks[0].wait(timeout=10)).attempts == 1
    await roles.finisher.drain()
    assert roles.finisher.counts == {"succeeded": 1, "release": 2}
    assert [(await task.status()).attempts for task in tasks] == [1, 0, 0]


# -- surroundings ---------------------------------------------------------------------------


async def test_each_attempt_runs_in_a_context_of_its_own(app: App, make_roles: MakeRoles) -> None:
    secret: ContextVar[str] = ContextVar("secret", default="none")
    seen: list[tuple[str, str, str]] = []

    @app.task(queue="q")
    async def coroutine(name: str) -> None:
        before = secret.get()
        secret.set(name)
        await asyncio.sleep(0)
        seen.append((before, secret.get(), current().task_id))

    @app.task(queue="q")
    def thread(name: str) -> None:
        before = secret.get()
        secret.set(name)
        seen.append((before, secret.get(), current().task_id))

    roles = await make_roles(capacity=2)  # so that most start at the end of another one
    names = [f"task {number}" for number in range(8)]
    tasks = [await f.enqueue(name) for name in names for f in (coroutine, thread)]
    roles.runner.begin(await roles.claims.claim(16, [0, 0, 0]))
    await asyncio.gather(*(task.result(timeout=10) for task in tasks))

    expected = [("none", name, None) for name in names for _ in range(2)]
    assert sorted((before, name, None) for before, name, _ in seen) == expected
    assert {task_id for _, _, task_id in seen} == {task.id for task in tasks}
    assert secret.get() == "none"
