"""Any order of calls, repeated calls and late calls: every task stays in exactly one place.

Hypothesis drives the scripts themselves, on a real server, with workers that lose their lease
and act on it all the same.
"""

from __future__ import annotations

import json
import random
import secrets
from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from castwork.redis import scripts
from castwork.redis.keys import QueueKeys
from castwork.tasks.queue import GROUP, Queue, own_queue

FINAL = {"succeeded", "cancelled", "dead"}
WORKERS = st.sampled_from(["alice", "bob"])
LANES = st.sampled_from([0, 1, 2])


@dataclass(frozen=True)
class Token:
    """What a worker believes to own."""

    worker: str
    lane: int
    entry: str
    deliveries: int
    task: str


class TaskLife(RuleBasedStateMachine):
    client: redis.Redis

    tokens: Bundle[Token] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue = own_queue(f"sm{secrets.token_hex(4)}", "q")
        self.keys: QueueKeys = self.queue.keys
        self.streams = self.queue.streams
        self.tasks: list[str] = []
        self.owner: dict[str, Token] = {}
        self.seen: list[Token] = []
        self.outcomes: dict[str, str] = {}

    def run(self, script: scripts.Script, keys: list[str], args: list[object]) -> object:
        return self.client.eval(script.source, len(keys), *keys, *args)

    def twice(self, script: scripts.Script, keys: list[str], args: list[object]) -> object:
        """Send a call again as if its reply had been lost: the answer must be the same."""
        first = self.run(script, keys, args)
        assert self.run(script, keys, args) == first
        return first

    @initialize(lanes=st.lists(LANES, min_size=2, max_size=4))
    def begin(self, lanes: list[int]) -> None:
        for stream in self.streams:
            self.client.xgroup_create(stream, GROUP, "0", mkstream=True)
        for lane in lanes:
            self.enqueue_one(lane)

    def few_wait(self) -> bool:
        return len(self.tasks) - len(self.owner) - len(self.outcomes) < 3

    @precondition(few_wait)
    @rule(lane=LANES)
    def enqueue(self, lane: int) -> None:
        self.enqueue_one(lane)

    def enqueue_one(self, lane: int) -> None:
        task = f"q-{len(self.tasks)}"
        self.tasks.append(task)
        args = [1, 0, 0, "f", self.queue.lanes[lane].name, "", task, "{}"]
        keys = [self.streams[lane], self.keys.entries, self.keys.record(task)]
        assert self.run(scripts.ENQUEUE, keys, args) == [b"ok", 1]
        assert self.run(scripts.ENQUEUE, keys, args) == [b"ok", 0]

    @precondition(few_wait)
    @rule()
    def schedule(self) -> None:
        task = f"q-{len(self.tasks)}"
        self.tasks.append(task)
        keys = [self.keys.record(task), self.keys.scheduled, self.keys.parked]
        args = [task, 0, self.parked(task, 1), '{"state":"scheduled"}', 0]
        assert self.run(scripts.SCHEDULE, keys, args) == [b"ok", 1]
        assert self.run(scripts.SCHEDULE, keys, args) == [b"ok", 0]

    def parked(self, task: str, lane: int) -> str:
        name = self.queue.lanes[lane].name
        fields = ["task", "f", "id", task, "args", "{}"]
        return json.dumps({"lane": name, "fields": fields, "record": '{"state":"queued"}'})

    @precondition(lambda self: len(self.tasks) > len(self.owner) + len(self.outcomes))
    @rule(target=tokens, worker=WORKERS, total=st.integers(1, 4), share=st.integers(0, 2))
    def claim(self, worker: str, total: int, share: int) -> object:
        args: list[object] = [worker, total]
        for _ in self.streams:
            args += [GROUP, share]
        _, *lanes = self.run(scripts.CLAIM, self.streams, args)  # type: ignore[misc]
        claimed = [
            self.own(Token(worker, lane - 1, entry.decode(), 1, fields[3].decode()))
            for lane, entries in lanes
            for entry, fields in entries
        ]
        assert len(claimed) <= total
        return multiple(*claimed)

    def own(self, token: Token) -> Token:
        self.seen.append(token)
        self.owner[token.task] = token
        return token

    @precondition(lambda self: self.owner)
    @rule(target=tokens, worker=WORKERS, data=st.data())
    def recover(self, worker: str, data: st.DataObject) -> object:
        """Every lease is taken for expired."""
        lane = data.draw(st.sampled_from(sorted({t.lane for t in self.owner.values()})))
        args = [GROUP, worker, 0, "0-0", 3]
        _, *found = self.run(scripts.RECOVER, [self.streams[lane]], args)  # type: ignore[misc]
        return multiple(
            *(
                self.own(Token(worker, lane, entry.decode(), count, fields[3].decode()))
                for entry, fields, count in found
            )
        )

    def owns(self, token: Token) -> bool:
        return self.owner.get(token.task) == token

    @rule(token=tokens)
    def start(self, token: Token) -> None:
        args = [3, token.worker, GROUP, GROUP, GROUP]
        args += [token.lane + 1, token.entry, token.deliveries, '{"state":"running"}']
        keys = [*self.streams, self.keys.record(token.task)]
        assert self.twice(scripts.START, keys, args) == int(self.owns(token))

    @rule(token=tokens)
    def renew(self, token: Token) -> None:
        args = [GROUP, token.worker, token.entry, token.deliveries]
        lost = self.twice(scripts.RENEW, [self.streams[token.lane]], args)
        assert lost == ([] if self.owns(token) else [1])

    @rule(worker=WORKERS, lane=LANES, order=st.randoms(use_true_random=False))
    def renew_all(self, worker: str, lane: int, order: random.Random) -> None:
        """All that a worker ever held, in any order: what is lost is told, the rest renewed."""
        tokens = [t for t in self.tokens_of(worker) if t.lane == lane]
        order.shuffle(tokens)
        if not tokens:
            return
        args: list[object] = [GROUP, worker]
        for token in tokens:
            args += [token.entry, token.deliveries]
        lost = self.twice(scripts.RENEW, [self.streams[lane]], args)
        assert lost == [i for i, token in enumerate(tokens, 1) if not self.owns(token)]

    def tokens_of(self, worker: str) -> list[Token]:
        return [token for token in self.seen if token.worker == worker]

    @rule(token=tokens, held=st.sampled_from([1, 3, 100]))
    def finish(self, token: Token, held: int) -> None:
        # A record tells who made it: the same worker's repeated call knows its own.
        record = json.dumps({"state": "succeeded", "by": f"{token}"})
        args = [3, token.worker, held, 1, 1, len(self.keys.record("")), *(GROUP, 1) * 3]
        args += [token.lane + 1, token.deliveries, 60_000, 1, token.entry, record]
        keys = [*self.streams, self.keys.entries, self.keys.record(token.task)]
        stored = self.twice(scripts.FINISH, keys, args)
        mine = self.outcomes.get(token.task) == record
        assert stored == [int(self.owns(token) or mine)]
        if self.owns(token):
            self.outcomes[token.task] = record
            del self.owner[token.task]

    @rule(worker=WORKERS, order=st.randoms(use_true_random=False), held=st.sampled_from([1, 100]))
    def finish_all(self, worker: str, order: random.Random, held: int) -> None:
        """All that a worker ever held, of all lanes, in any order, in one call."""
        tokens = self.tokens_of(worker)
        order.shuffle(tokens)
        records = [json.dumps({"state": "succeeded", "by": f"{token}"}) for token in tokens]
        args: list[object] = [3, worker, held, len(tokens), len(tokens)]
        args += [len(self.keys.record("")), *(GROUP, 1) * 3]
        for token in tokens:
            args += [token.lane + 1, token.deliveries, 60_000, 1]
        args += [token.entry for token in tokens] + records
        keys = [*self.streams, self.keys.entries]
        keys += [self.keys.record(token.task) for token in tokens]
        stored = self.twice(scripts.FINISH, keys, args)
        expected = [
            int(self.owns(token) or self.outcomes.get(token.task) == record)
            for token, record in zip(tokens, records, strict=True)
        ]
        assert stored == expected
        for token, record in zip(tokens, records, strict=True):
            if self.owns(token):
                self.outcomes[token.task] = record
                del self.owner[token.task]

    def fence(self, token: Token) -> list[object]:
        return [GROUP, token.worker, token.entry, token.deliveries, 1]

    @rule(token=tokens)
    def retry(self, token: Token) -> None:
        parked = self.parked(token.task, token.lane)
        args = [*self.fence(token), token.task, 0, parked, '{"state":"scheduled"}']
        keys = [self.streams[token.lane], self.keys.record(token.task)]
        keys += [self.keys.scheduled, self.keys.parked, self.keys.entries]
        held = self.owns(token)
        if held:
            assert self.twice(scripts.RETRY, keys, args) == 1
            del self.owner[token.task]
        else:
            before = self.places(token.task)
            self.run(scripts.RETRY, keys, args)
            assert self.places(token.task) == before

    @rule(token=tokens)
    def release(self, token: Token) -> None:
        args = [*self.fence(token), token.task, self.queue.lanes[token.lane].name]
        args += ['{"state":"queued"}', "task", "f", "id", token.task, "args", "{}"]
        stream = self.streams[token.lane]
        keys = [stream, stream, self.keys.record(token.task), self.keys.entries]
        assert self.run(scripts.RELEASE, keys, args) == int(self.owns(token))
        assert self.run(scripts.RELEASE, keys, args) == 0
        if self.owns(token):
            del self.owner[token.task]

    @rule(token=tokens)
    def bury(self, token: Token) -> None:
        record = json.dumps({"state": "dead", "by": f"{token}"})
        args = [*self.fence(token), token.task, record, "id", token.task]
        keys = [self.streams[token.lane], self.keys.record(token.task), self.keys.dead]
        keys.append(self.keys.entries)
        held = self.owns(token)
        stored = self.twice(scripts.BURY, keys, args)
        assert stored == int(held or self.outcomes.get(token.task) == record)
        if held:
            self.outcomes[token.task] = record
            del self.owner[token.task]

    @precondition(lambda self: self.client.zcard(self.keys.scheduled))
    @rule()
    def promote(self) -> None:
        _, *ids = self.run(scripts.DUE, [self.keys.scheduled], [10])  # type: ignore[misc]
        if ids:
            records = [self.keys.record(task.decode()) for task in ids]
            keys = [self.keys.scheduled, self.keys.parked, self.keys.entries]
            keys += [*self.streams, *records]
            assert self.run(scripts.PROMOTE, keys, ids) == len(ids)
            assert self.run(scripts.PROMOTE, keys, ids) == 0

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.tasks))
        held = task in self.owner
        record = json.dumps({"state": "cancelled", "by": task})
        keys = [self.keys.record(task), self.keys.scheduled, self.keys.parked]
        keys += [self.keys.entries, *self.streams, self.keys.output(task)]
        args = [task, record, 60_000, self.keys.control, GROUP]
        reply = self.twice(scripts.CANCEL, keys, args)
        if task in self.outcomes:
            assert reply == json.loads(self.outcomes[task])["state"].encode()
        elif held:
            assert reply == b"running"
        else:
            assert reply == b"cancelled"
            self.outcomes[task] = record

    @rule(token=consumes(tokens))
    def forget(self, token: Token) -> None:
        """A worker dies: nobody acts on this token any more."""

    def places(self, task: str) -> list[str]:
        found = [
            f"lane {i}"
            for i, stream in enumerate(self.streams)
            for _, fields in self.client.xrange(stream)
            if fields[b"id"].decode() == task
        ]
        if self.client.zscore(self.keys.scheduled, task) is not None:
            found.append("scheduled")
        record = self.client.get(self.keys.record(task))
        state = json.loads(record)["state"] if record else "missing"
        if state in FINAL:
            found.append(state)
        return found

    @invariant()
    def every_task_is_in_one_place(self) -> None:
        for task in self.tasks:
            assert len(self.places(task)) == 1, (task, self.places(task))

    @invariant()
    def entries_name_the_place_of_each_queued_task(self) -> None:
        places = {
            fields[b"id"]: f"{lane.name}:{entry.decode()}".encode()
            for lane in self.queue.lanes
            for entry, fields in self.client.xrange(lane.stream)
        }
        assert self.client.hgetall(self.keys.entries) == places

    @invariant()
    def outcomes_do_not_change(self) -> None:
        for task, record in self.outcomes.items():
            assert self.client.get(self.keys.record(task)) == record.encode()

    @invariant()
    def what_is_owned_is_pending(self) -> None:
        pending = sum(self.client.xpending(s, GROUP)["pending"] for s in self.streams)
        assert pending == len(self.owner)

    @invariant()
    def parked_matches_scheduled(self) -> None:
        assert self.client.hlen(self.keys.parked) == self.client.zcard(self.keys.scheduled)

    def teardown(self) -> None:
        for key in self.client.scan_iter(f"{self.keys.prefix}*"):
            self.client.delete(key)


@pytest.mark.timeout(180)
def test_every_task_is_in_one_place_whatever_happens(plain: redis.Redis) -> None:
    class OnServer(TaskLife):
        client = plain

    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
