"""Any order of calls, repeated calls and late calls: every task stays in exactly one place.

Hypothesis drives the store's methods on a real server, with workers that lose their lease and act
on it all the same. Each script call that may be sent again is sent twice.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.store.expected import PRIORITIES, PRODUCERS, WORKERS, Expected
from tests.store.hands import Token, waiting_again
from tests.store.life import Server, Truth, final_status

from castwork.model.entry import Entry
from castwork.model.ids import deferred_id, new_digits, own_id
from castwork.model.record import Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.store.claims import Batch
from castwork.store.enqueues import NamedTask
from castwork.store.letter import Letter
from castwork.store.parked import parked_task

QUEUED = encode_record(Record(TaskState.QUEUED))
SCHEDULED = encode_record(Record(TaskState.SCHEDULED))

any_worker = st.sampled_from(WORKERS)
any_lane = st.sampled_from([0, 1, 2, 3])
any_sender = st.sampled_from([0, 1])

#: A task with an id or a key, or that is delayed: its own name, key, lane and delay.
Wanted = tuple[str | None, str | None, Priority, int]
any_named: st.SearchStrategy[Wanted] = st.tuples(
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, "k", "l"]),
    st.sampled_from(PRIORITIES),
    st.sampled_from([0, 3_600_000]),
)


class TaskLife(Expected):
    tokens: Bundle[Token] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.cancels = 0

    @initialize(
        kind=st.sampled_from(["own", "adopted", "kept"]),
        lanes=st.lists(any_lane, min_size=3, max_size=6),
    )
    def begin(self, kind: str, lanes: list[int]) -> None:
        self.open(kind)
        for lane in lanes:
            self.enqueue_one(lane)

    # -- tasks come ---------------------------------------------------------------------

    @precondition(Expected.is_few)
    @rule(
        sender=any_sender,
        rows=st.lists(
            st.tuples(st.sampled_from(PRIORITIES), st.integers(1, 2), st.booleans()),
            min_size=1,
            max_size=3,
        ),
    )
    def enqueue(self, sender: int, rows: list[tuple[Priority, int, bool]]) -> None:
        self.send(sender, rows)

    @precondition(lambda self: self.queue.stream is not None and self.is_few())
    @rule()
    def others_add(self) -> None:
        self.add_foreign()

    @precondition(Expected.is_few)
    @rule(sender=any_sender, wanted=st.lists(any_named, min_size=1, max_size=3))
    def enqueue_named(self, sender: int, wanted: list[Wanted]) -> None:
        tasks = [self.named_task(sender, *one) for one in wanted]
        replies = self.do(self.enqueues[sender].enqueue_named(tasks))
        for task, reply in zip(tasks, replies, strict=True):
            assert not isinstance(reply, int)
            key = task.key[-1] if task.key is not None else None
            if self.where.get(task.id, "gone") != "gone":
                assert reply == (task.id, False, False)
            elif key in self.keys:
                assert reply == (self.keys[key], False, False)
            else:
                assert reply == (task.id, True, False)
                self.where[task.id] = "parked" if task.delay_ms else "waits"
                if key is not None:
                    self.keys[key] = task.id

    def named_task(
        self, sender: int, name: str | None, key: str | None, lane: Priority, delay_ms: int
    ) -> NamedTask:
        nonce, queue = PRODUCERS[sender] + new_digits(), self.queue.id_prefix
        task_id = deferred_id(queue, nonce) if name is None else own_id(queue, name)
        entry = Entry(b"f", nonce.encode(), b"{}", task_id)
        task = NamedTask(task_id, lane, entry.call, delay_ms=delay_ms)
        if delay_ms:
            task.parked, task.record = parked_task(entry, lane, QUEUED), SCHEDULED
        if key is not None:
            task.key, task.key_ttl_ms = ("f", "", key), 600_000
        return task

    @precondition(lambda self: bool(self.keys))
    @rule(sender=any_sender, mine=st.booleans(), delay_ms=st.sampled_from([None, 60_000]))
    def replace(self, sender: int, mine: bool, delay_ms: int | None) -> None:
        key, holder = next(iter(self.keys.items()))
        task = self.named_task(sender, None, key, Priority.NORMAL, 0)
        who = holder if mine else task.id
        waits = self.where.get(holder) in ("waits", "parked")
        assert self.do(self.enqueues[sender].replace(who, task, delay_ms)) == (mine and waits)
        if mine and waits:
            self.parked_by.pop(holder, None)  # with other arguments it is not what was parked

    @precondition(lambda self: bool(self.keys))
    @rule(sender=any_sender, mine=st.booleans())
    def free_key(self, sender: int, mine: bool) -> None:
        key, holder = next(iter(self.keys.items()))
        who = holder if mine else "q:nobody"
        assert self.do(self.enqueues[sender].free_key(("f", "", key), who)) == mine
        if mine:
            del self.keys[key]

    # -- workers take them --------------------------------------------------------------

    @precondition(lambda self: "waits" in self.where.values())
    @rule(target=tokens, worker=any_worker, total=st.integers(1, 4), share=st.integers(0, 2))
    def claim(self, worker: str, total: int, share: int) -> object:
        shares = [share] * len(self.queue.lanes)
        batch = self.do(self.hands[worker].claims.claim(total, shares))
        assert batch.now_ms > 0
        return self.take_batch(worker, batch, total)

    @precondition(lambda self: "waits" in self.where.values())
    @rule(target=tokens, worker=any_worker, number=any_lane, total=st.integers(1, 3))
    def claim_from_one_lane(self, worker: str, number: int, total: int) -> object:
        lane = self.lane_of(number)
        lengths = [self.server.client.xlen(stream) for stream in self.place.keys.lanes]
        batch, others = self.do(self.hands[worker].claims.claim_from(lane, total))
        assert others == any(lengths[:lane] + lengths[lane + 1 :])
        return self.take_batch(worker, batch, total)

    def take_batch(self, worker: str, batch: Batch, total: int) -> object:
        hand = self.hands[worker]
        taken = [hand.token(lane, *entry) for lane, entries in batch.lanes for entry in entries]
        assert len(taken) <= total
        assert all(self.where[token.task] == "waits" for token in taken)
        self.take(taken)
        return multiple(*taken)

    @precondition(lambda self: self.owner)
    @rule(target=tokens, worker=any_worker, count=st.integers(1, 3), data=st.data())
    def recover(self, worker: str, count: int, data: st.DataObject) -> object:
        """Every lease is taken for expired."""
        lane = data.draw(st.sampled_from(sorted({token.lane for token in self.owner.values()})))
        held = sorted(
            (token for token in self.owner.values() if token.lane == lane),
            key=lambda token: tuple(map(int, token.entry.split(b"-"))),
        )
        found = self.do(
            self.hands[worker].claims.recover(lane, lease_ms=0, cursor="-", count=count)
        )
        expected = [(t.entry, t.deliveries + 1) for t in held[:count]]
        assert [(left.entry_id, left.deliveries) for left in found.left] == expected
        following = held[count].entry.decode() if len(held) > count else "-"
        assert (found.cursor, found.now_ms > 0) == (following, True)
        taken = [self.hands[worker].token(lane, *left) for left in found.left]
        self.take(taken)
        self.robbed = True
        return multiple(*taken)

    @precondition(lambda self: self.owner)
    @rule(worker=any_worker, number=any_lane)
    def sweep(self, worker: str, number: int) -> None:
        """What a worker holds is what the server says that it holds."""
        lane, claims = self.lane_of(number), self.hands[worker].claims
        pending = self.do(claims.pending(lane, 100))
        held = [t for t in self.owner.values() if (t.worker, t.lane) == (worker, lane)]
        assert sorted(pending) == sorted((t.entry, t.deliveries) for t in held)
        read = self.do(claims.read_pending(lane, pending))
        assert [(left.entry_id, left.deliveries) for left in read] == pending

    @precondition(lambda self: self.robbed)
    @rule(leaver=st.sampled_from(["", *WORKERS]))
    def retire(self, leaver: str) -> None:
        """Notes of takeovers go only when nothing as old is pending."""
        robbed = self.place.keys.robbed
        before = self.server.client.hgetall(robbed)
        self.do(self.hands["alice"].claims.retire(leaver))
        pending = [tuple(map(int, t.entry.split(b"-"))) for t in self.owner.values()]
        assert self.server.client.hgetall(robbed) == {
            worker: entry
            for worker, entry in before.items()
            if pending and min(pending) <= tuple(map(int, entry.split(b"-")))
        }

    @rule(token=consumes(tokens))
    def die(self, token: Token) -> None:
        """Nobody acts on this token alone any more; it may still go out in a group."""

    # -- workers say what became of them ------------------------------------------------

    def draw_some(self, data: st.DataObject) -> list[Token]:
        """Some of all that a worker ever held, of all lanes, in any order."""
        worker = data.draw(st.sampled_from(sorted({token.worker for token in self.seen})))
        mine = [token for token in self.seen if token.worker == worker]
        count = data.draw(st.integers(1, len(mine)))
        return data.draw(st.permutations(mine))[:count]

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def announce(self, data: st.DataObject) -> None:
        some = self.draw_some(data)
        group = [(token.delivery, token.record(TaskState.RUNNING)) for token in some]
        announced = self.do(self.hands[some[0].worker].outcomes.announce(group))
        assert announced == sum(map(self.owns, some))

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        some = self.draw_some(data)
        some = [token for token in some if token.lane == some[0].lane]
        renewals, deliveries = self.renewals[some[0].worker], [token.delivery for token in some]
        for _ in range(2):
            lost = renewals.renew(some[0].lane, deliveries)
            assert lost == [i for i, token in enumerate(some) if not self.owns(token)]

    @rule(token=tokens)
    def finish_one(self, token: Token) -> None:
        self.finish([token])

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def finish_some(self, data: st.DataObject) -> None:
        self.finish(self.draw_some(data))

    @precondition(lambda self: self.owner)
    @rule(data=st.data())
    def finish_what_is_held(self, data: st.DataObject) -> None:
        """What a worker does that nobody robbed."""
        worker = data.draw(st.sampled_from(sorted({t.worker for t in self.owner.values()})))
        self.finish([token for token in self.owner.values() if token.worker == worker])

    def finish(self, some: list[Token]) -> None:
        records = [token.record(TaskState.SUCCEEDED) for token in some]
        stored = self.do(self.hands[some[0].worker].finish(some, records))
        assert stored == [self.stored(t, r) for t, r in zip(some, records, strict=True)]
        for token, record in zip(some, records, strict=True):
            if self.owns(token):
                self.end(token.task, record)

    @rule(token=tokens)
    def park(self, token: Token) -> None:
        work = self.hands[token.worker].outcomes.park(
            token.delivery, token.next_entry(), 0, SCHEDULED, QUEUED
        )
        is_mine = self.where[token.task] == "parked" and self.parked_by.get(token.task) == token
        assert self.do(work) == (self.owns(token) or is_mine)
        if self.owns(token):
            self.leave(token.task, "parked")
            self.parked_by[token.task] = token

    @rule(token=tokens)
    def release(self, token: Token) -> None:
        work = self.hands[token.worker].outcomes.release(token.delivery, token.next_entry(), QUEUED)
        if self.owns(token):
            assert self.do(work)
            self.leave(token.task, "waits")
        else:
            assert not self.do(work)

    @rule(token=tokens)
    def bury(self, token: Token) -> None:
        record = token.record(TaskState.DEAD)
        lane = self.queue.lanes[token.lane].name
        letter = Letter("", token.task, "f", token.attempts, lane, [], [b"call", b"f - {}"])
        stored = self.do(self.hands[token.worker].outcomes.bury(token.delivery, record, letter))
        assert stored == self.stored(token, record)
        if self.owns(token):
            self.end(token.task, record)
            self.where[token.task] = "dead"

    # -- others act on them -------------------------------------------------------------

    @precondition(lambda self: "parked" in self.where.values())
    @rule()
    def unpark(self) -> None:
        """Every parked task's time has come."""
        due = self.place.keys.due
        for task in self.server.client.zrange(due, 0, -1):
            self.server.client.zadd(due, {task: 1})
        ids, _ = self.do(self.parked.due(10))
        if ids:
            assert self.do(self.parked.unpark(ids)) == len(ids)
            for task in ids:
                assert self.where[task] == "parked"
                self.where[task] = "waits"

    @precondition(lambda self: self.cancels < len(self.where) // 4)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.cancels += 1
        task = data.draw(st.sampled_from(list(self.where)))
        where = self.where[task]
        raw = self.server.client.get(self.place.keys.record(task))
        if task in self.foreign and where == "waits" and self.queue.notes_cancels:
            return  # it goes on waiting, until a worker drops it
        status = self.do(self.records.cancel(task, Record(TaskState.QUEUED)))
        if where in ("ended", "dead"):
            assert status == final_status(self.outcomes[task])
        elif where == "gone":
            assert status is None
        elif task in self.foreign and where == "held":
            assert status == (None if raw is None else TaskState.RUNNING)
        elif where == "held":
            assert status is TaskState.RUNNING
        else:
            assert status is TaskState.CANCELLED
            record = encode_record(Record(TaskState.CANCELLED))
            self.end(task, record)

    @precondition(lambda self: "dead" in self.where.values())
    @rule(data=st.data(), purge=st.booleans(), lane=st.sampled_from(PRIORITIES))
    def replay(self, data: st.DataObject, purge: bool, lane: Priority) -> None:
        dead = [task for task, where in self.where.items() if where == "dead"]
        task = data.draw(st.sampled_from(dead))
        letter = self.do(self.letters.find(task))
        assert letter is not None
        assert letter.task_id == task
        if purge:
            assert self.do(self.letters.purge(letter))
            self.where[task] = "gone"
        else:
            entry = waiting_again(task, letter.attempts)
            assert self.do(self.letters.replay(letter, entry, lane, QUEUED))
            self.where[task] = "waits"
        del self.outcomes[task]

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(list(self.where)))
        record = self.do(self.records.read(task))
        if self.where[task] == "gone":
            assert record is None
        else:
            assert record is not None, "it is lost"
            assert record.status.is_final == (task in self.outcomes)

    # -- what must always hold ----------------------------------------------------------

    @invariant()
    def nothing_is_out_of_place(self) -> None:
        truth = Truth(self.server.client, self.place)
        alive = ("waits", "held", "parked")
        expected = {
            t: ["parked" if w == "parked" else "lane"] for t, w in self.where.items() if w in alive
        }
        assert truth.places == expected, "each task is in exactly one place"
        assert truth.moved == truth.elsewhere, "`moved` has exactly what is elsewhere"
        assert truth.due == truth.parked
        assert truth.pending == {
            (t.lane, t.entry): (t.worker, t.deliveries) for t in self.owner.values()
        }, "what is owned is pending"
        dead = {task.encode() for task, where in self.where.items() if where == "dead"}
        assert set(truth.letters) == dead
        assert truth.letters == truth.dead

    @invariant()
    def outcomes_do_not_change(self) -> None:
        tasks = list(self.where)
        if tasks:
            found = self.server.client.mget([self.place.keys.record(task) for task in tasks])
            final = {t: r for t, r in zip(tasks, found, strict=True) if final_status(r)}
            assert final == self.outcomes


@pytest.mark.timeout(180)
@pytest.mark.parametrize("which", ["server_url", "redis_url"])
def test_every_task_is_in_one_place_whatever_happens(
    which: str, request: pytest.FixtureRequest
) -> None:
    with Server.at(request.getfixturevalue(which)) as made:

        class OnServer(TaskLife):
            server = made

        run_state_machine_as_test(
            OnServer,
            settings=settings(
                max_examples=100,
                stateful_step_count=60,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=set(Phase) - {Phase.shrink},  # which takes minutes; add it to see less
            ),
        )
