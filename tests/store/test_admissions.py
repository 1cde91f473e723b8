"""Admissions: whatever workers do, no limit is exceeded, and whoever waits is woken in turn.

Hypothesis drives the store's methods on a real server. Time passes as in `castwork.testing`: what
is stored moves back. A rate's interval is 100 s, so that the real time of a test counts for little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from castwork.model.delivery import Delivery
from castwork.model.entry import Entry, Meta, encode_meta, parse_entry
from castwork.model.ids import new_digits, own_id
from castwork.model.queue import Queue
from castwork.model.record import Record, encode_record
from castwork.model.settings import Limits, LinkSettings
from castwork.model.states import Priority, TaskState
from castwork.redis.connections import Connections
from castwork.store.admissions import Admissions, Answer, Asked, Ended, Healing
from castwork.store.enqueues import NamedTask
from castwork.store.outcomes import EndedTasks
from castwork.store.queue_store import QueueStore
from castwork.testing.passing import let_pass

T = TypeVar("T")

QUEUED = encode_record(Record(TaskState.QUEUED))
LEASE = 1_000_000
WORKERS = ("a-1-00000000", "b-1-00000000")
INTERVAL = 100.0
BURST = 2
PLACES = {"x": 1, "y": 2}


def limits_of(kind: str) -> list[tuple[str, str]]:
    """The limits of a task: `x` and `y` have places, `r` a rate, `0` is a line; by their names."""
    specs = {key: f"a {most} 0 0" for key, most in PLACES.items()}
    specs["r"] = f"r {int(INTERVAL * 1e6)} {BURST} 0"
    specs["0"] = "line"
    return [(f"f {key}", specs[key]) for key in sorted(kind)]


any_kind = st.sampled_from(["x", "y", "r", "xy", "rx", "ry", "rxy", "0", "0x", "0r"])


class Life(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = 0.0
        self.begun: list[float] = []
        self.running: dict[str, tuple[str, Delivery, str]] = {}
        self.claimed: dict[str, tuple[str, Delivery, Entry]] = {}
        self.kinds: dict[str, str] = {}
        self.gone: set[str] = set()
        self.count = 0
        self.is_broken = True

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    @initialize(kinds=st.lists(any_kind, min_size=6, max_size=12))
    def begin(self, kinds: list[str]) -> None:
        self.connections = Connections(lambda: Life.url, LinkSettings())
        self.store = QueueStore(self.connections, "t" + new_digits(), Queue("q"), Limits())
        self.admissions = {
            worker: Admissions(self.store.place, worker, LEASE) for worker in WORKERS
        }
        self.claims = {worker: self.store.claims(worker) for worker in WORKERS}
        self.outcomes = {worker: self.store.outcomes(worker) for worker in WORKERS}
        self.do(self.claims[WORKERS[0]].create_groups())
        for kind in kinds:
            self.add(kind)

    def teardown(self) -> None:
        if hasattr(self, "connections"):
            if not self.is_broken:
                self.check_that_nobody_is_left_behind()
            self.do(self.connections.close())
        self.loop.close()

    # -- what happens -------------------------------------------------------------------

    @precondition(lambda self: len(self.kinds) - len(self.gone) < 12)
    @rule(kinds=st.lists(any_kind, min_size=1, max_size=3))
    def enqueue(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.add(kind)

    def add(self, kind: str) -> None:
        self.count += 1
        task_id = own_id("q", f"{self.count:03d}{kind}")  # in their order, also within a ms
        named = NamedTask(task_id, Priority.NORMAL, Entry(b"f", b"-", b"{}", task_id).call)
        if "0" in kind:
            named.meta, named.is_serial = encode_meta(Meta(serial="f 0")), True
        self.do(self.store.enqueues.enqueue_named([named]))
        self.kinds[task_id] = kind

    @rule(worker=st.sampled_from(WORKERS), count=st.integers(1, 8))
    def claim(self, worker: str, count: int) -> None:
        batch = self.do(self.claims[worker].claim(count, [0, 0, 0]))
        for lane, entries in batch.lanes:
            for entry_id, fields in entries:
                entry = parse_entry(fields)
                delivery = Delivery(lane, entry_id, 1)
                delivery.task_id, delivery.moved = entry.id, True
                entry.at = entry.at or int(entry_id.split(b"-")[0])
                self.claimed[entry.id] = (worker, delivery, entry)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), again=st.booleans())
    def enter(self, data: st.DataObject, again: bool) -> None:
        worker = data.draw(st.sampled_from(sorted({w for w, _, _ in self.claimed.values()})))
        mine = {i: one for i, one in self.claimed.items() if one[0] == worker}
        chosen = data.draw(st.lists(st.sampled_from(sorted(mine)), min_size=1, unique=True))
        asked = [self.asked(mine[task_id]) for task_id in chosen]
        answers, _ = self.do(self.admissions[worker].enter(asked))
        closed = [one for one, answer in zip(asked, answers, strict=True) if answer == 2]
        for one in closed:
            one.entry, one.record = mine[one.delivery.task_id][2], QUEUED
        settled = {
            one.delivery.task_id: answer
            for one, answer in zip(asked, answers, strict=True)
            if answer != Answer.CLOSED
        }
        if closed:
            replies, _ = self.do(self.admissions[worker].enter(closed))
            settled |= {
                one.delivery.task_id: reply for one, reply in zip(closed, replies, strict=True)
            }
        if again:  # the reply was lost
            passed = [one for one in asked if settled[one.delivery.task_id] is Answer.PASSED]
            if passed:
                assert self.do(self.admissions[worker].enter(passed))[0] == [1] * len(passed)
        for task_id, answer in settled.items():
            assert answer in (Answer.PASSED, Answer.HELD)
            _, delivery, _ = self.claimed.pop(task_id)
            if answer is Answer.PASSED:
                self.running[task_id] = (worker, delivery, self.kinds[task_id])
                if "r" in self.kinds[task_id]:
                    self.begun.append(self.clock)
                if "0" in self.kinds[task_id]:
                    line = [one for one, kind in self.kinds.items() if "0" in kind]
                    assert task_id == next(one for one in line if one not in self.gone)

    def asked(self, one: tuple[str, Delivery, Entry]) -> Asked:
        _, delivery, entry = one
        return Asked(delivery, entry.at, limits_of(self.kinds[delivery.task_id]))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), again=st.booleans())
    def end(self, data: st.DataObject, again: bool) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.running)))
        worker, delivery, kind = self.running.pop(task_id)
        ended = EndedTasks([delivery], [b'{"status":"succeeded"}'], [60_000], ())
        assert self.do(self.outcomes[worker].finish(ended)) is None
        places = [limit for limit in limits_of(kind) if limit[1].startswith("a")]
        for _ in range(2 if again else 1):
            self.do(self.admissions[worker].leave([Ended(delivery, places, True)]))
        self.gone.add(task_id)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """An attempt fails, and its task waits for the next one."""
        task_id = data.draw(st.sampled_from(sorted(self.running)))
        worker, delivery, kind = self.running.pop(task_id)
        entry = Entry(b"f", b"-", b"{}", task_id, 1)
        if "0" in kind:
            entry.meta = Meta(serial="f 0")
        self.do(self.outcomes[worker].park(delivery, entry, 60_000, QUEUED, QUEUED))
        places = [limit for limit in limits_of(kind) if limit[1].startswith("a")]
        self.do(self.admissions[worker].leave([Ended(delivery, places, False)]))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A worker is killed between the outcome and the places."""
        task_id = data.draw(st.sampled_from(sorted(self.running)))
        worker, delivery, _ = self.running.pop(task_id)
        self.do(
            self.outcomes[worker].finish(
                EndedTasks([delivery], [b'{"status":"succeeded"}'], [60_000], ())
            )
        )
        self.gone.add(task_id)
        self.heal()

    @precondition(lambda self: len(self.kinds) > len(self.gone))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        left = set(self.kinds) - self.gone - set(self.running) - set(self.claimed)
        if not left:
            return
        task_id = data.draw(st.sampled_from(sorted(left)))
        record = self.do(self.store.records.read(task_id))
        assert record is not None
        assert record.status == "queued"
        assert self.do(self.store.records.cancel(task_id, record)) == "cancelled"
        self.gone.add(task_id)
        self.heal()
        self.wake()

    @rule(seconds=st.sampled_from([30.0, 100.0, 250.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.do(let_pass([self.store], seconds, alive=""))
        due, _ = self.do(self.store.parked.due(100))
        self.do(self.store.parked.unpark(due))
        self.wake()

    def wake(self) -> None:
        for admissions in self.admissions.values():
            self.do(admissions.wake())

    def heal(self) -> None:
        self.do(self.admissions[WORKERS[0]].heal(Healing()))

    # -- what always holds --------------------------------------------------------------

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        self.is_broken = True
        for key, most in PLACES.items():
            assert sum(key in kind for _, _, kind in self.running.values()) <= most
        assert sum("0" in kind for _, _, kind in self.running.values()) <= 1
        for first in range(len(self.begun)):
            for last in range(first, len(self.begun)):
                within = self.begun[last] - self.begun[first]
                # A second for the real time of the test.
                assert last - first + 1 <= BURST + (within + 1) / INTERVAL
        self.is_broken = False

    def check_that_nobody_is_left_behind(self) -> None:
        """When all that runs has ended and time has passed, every task has had its turn."""
        for _ in range(200):
            self.claim(WORKERS[0], 8)
            for worker in WORKERS:
                while mine := [i for i, one in self.claimed.items() if one[0] == worker]:
                    self.enter(_Choice([worker, mine]), False)
            if not (self.running or self.claimed or len(self.kinds) > len(self.gone)):
                return
            while self.running:
                self.end(_Choice([next(iter(self.running))]), False)
            self.pass_time(250.0)
        left = set(self.kinds) - self.gone
        raise AssertionError(f"never ran: {sorted(left)}")


class _Choice:
    """Draws what it was given."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def draw(self, _: object) -> Any:
        return self._values.pop(0)


@given(
    burst=st.integers(1, 4),
    steps=st.lists(st.sampled_from([0.0, 0.0, 15.0, 35.0, 95.0, 105.0, 250.0]), max_size=15),
)
@settings(max_examples=15, deadline=None, phases=(Phase.generate,))
@pytest.mark.one_server
def test_a_rate_lets_begin_exactly_what_gcra_does(
    server_url: str, burst: int, steps: list[float]
) -> None:
    """Each step is some seconds, then a task that asks; one that may not begin asks no more."""

    async def check() -> None:
        connections = Connections(lambda: server_url, LinkSettings())
        store = QueueStore(connections, "t" + new_digits(), Queue("q"), Limits())
        admissions, claims = Admissions(store.place, WORKERS[0], LEASE), store.claims(WORKERS[0])
        await claims.create_groups()
        clock = begun = 0.0
        spec = f"r {int(INTERVAL * 1e6)} {burst} 0"
        for number, seconds in enumerate(steps):
            clock += seconds
            if seconds:
                await let_pass([store], seconds, alive=WORKERS[0])
            task_id = own_id("q", f"task{number}")
            call = Entry(b"f", b"-", b"{}", task_id).call
            await store.enqueues.enqueue_named([NamedTask(task_id, Priority.NORMAL, call)])
            batch = await claims.claim(1, [0, 0, 0])
            [(lane, [(entry_id, _)])] = batch.lanes
            delivery = Delivery(lane, entry_id, 1)
            delivery.task_id = task_id
            [answer], _ = await admissions.enter([Asked(delivery, number, [("f 0r ", spec)])])
            ahead = max(begun - clock, 0.0)
            may = ahead <= (burst - 1) * INTERVAL
            assert (answer is Answer.PASSED) == may, (number, seconds)
            if may:
                begun = max(begun, clock) + INTERVAL
        await connections.close()

    asyncio.run(check())


@pytest.mark.one_server
def test_limits_hold_in_any_order_of_events(server_url: str) -> None:
    Life.url = server_url
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
