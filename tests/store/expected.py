"""What should have become of each task: what the state machine holds against the server."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine
from tests.store.hands import Hand, Token, placed_id
from tests.store.life import Server, TwicePlace

from castwork.model.entry import Meta, encode_meta
from castwork.model.ids import new_digits
from castwork.model.queue import Queue, adopted_queue
from castwork.model.states import Priority
from castwork.redis.thread_link import ThreadLink
from castwork.store.enqueues import Enqueues, Row
from castwork.store.letters import Letters
from castwork.store.parked import Parked
from castwork.store.records import Records
from castwork.store.renewals import Renewals

T = TypeVar("T")

WORKERS = ("alice", "bob", "carol")
PRODUCERS = ("PRODU1", "PRODU2")
PRIORITIES = list(Priority)


class Expected(RuleBasedStateMachine):
    """A queue with its workers, and what each task should have become.

    Attributes:
        where: per task id `waits`, `held`, `parked`, `ended`, `dead`, or `gone` (purged).
        owner: who holds what is held.
        seen: all that workers ever held, in order.
        outcomes: the final records.
        parked_by: who parked a task last.
        keys: idempotency keys, with the tasks that they stand for.
        foreign: tasks in a stream of others, where a task has no record before it runs.
        robbed: whether anything was ever taken over.
    """

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.where: dict[str, str] = {}
        self.owner: dict[str, Token] = {}
        self.seen: list[Token] = []
        self.outcomes: dict[str, bytes] = {}
        self.parked_by: dict[str, Token] = {}
        self.keys: dict[str, str] = {}
        self.foreign: set[str] = set()
        self.robbed = False

    def open(self, kind: str) -> None:
        """Begin with an empty queue: `own`, or around an `adopted` or `kept` stream."""
        namespace = f"sm{secrets.token_hex(4)}"
        connections = self.server.connections
        self.queue = Queue("q")
        if kind != "own":
            self.queue = adopted_queue(
                f"{namespace}:events", "billing", owned=kind == "adopted", foreign_lease=0.0
            )
        self.place = place = TwicePlace(connections, namespace, self.queue)
        self.hands = {name: Hand(place, name) for name in WORKERS}
        self.thread_link = connections.thread_link(place.slot, 10.0)
        self.renewals = {
            name: Renewals(place, name, lambda _: self.thread_link) for name in WORKERS
        }
        self.enqueues = [Enqueues(place) for _ in PRODUCERS]
        self.parked, self.letters, self.records = Parked(place), Letters(place, 5), Records(place)
        self.do(self.hands["alice"].claims.create_groups())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.server.do(work)

    def link_for(self, _: int) -> ThreadLink:
        return self.thread_link

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.thread_link.close()
            self.server.delete_keys(self.place)

    # -- what is expected ---------------------------------------------------------------

    def is_few(self) -> bool:
        return sum(where in ("waits", "held", "parked") for where in self.where.values()) < 9

    def owns(self, token: Token) -> bool:
        return self.owner.get(token.task) == token

    def stored(self, token: Token, record: bytes) -> bool:
        """Whether a task ends with this record, or did."""
        return self.owns(token) or self.outcomes.get(token.task) == record

    def leave(self, task: str, where: str) -> None:
        self.owner.pop(task, None)
        self.foreign.discard(task)
        self.where[task] = where

    def end(self, task: str, record: bytes) -> None:
        self.leave(task, "ended")
        self.outcomes[task] = record

    def take(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            self.owner[token.task] = token
            self.where[token.task] = "held"
            self.seen.append(token)

    def lane_of(self, number: int) -> int:
        return number % len(self.queue.lanes)

    # -- tasks come ---------------------------------------------------------------------

    def enqueue_one(self, number: int) -> None:
        lane = self.lane_of(number)
        if self.queue.lanes[lane].name == "stream":
            self.add_foreign()
        else:
            self.send(0, [(self.queue.lanes[lane].priority, 1, False)])

    def add_foreign(self) -> None:
        assert self.queue.stream is not None
        entry = self.server.client.xadd(self.queue.stream, {"prompt": "hi"})
        task = f"{self.queue.stream}:{self.queue.group}:{entry.decode()}"
        self.where[task] = "waits"
        self.foreign.add(task)

    def send(self, sender: int, asked: Iterable[tuple[Priority, int, bool]]) -> None:
        rows, nonces = [], []
        for lane, count, has_meta in asked:
            drawn = [(PRODUCERS[sender] + new_digits()).encode() for _ in range(count)]
            calls = [b"f %b {}" % nonce for nonce in drawn]
            metas = [encode_meta(Meta(owner="ann"))] * count if has_meta else None
            rows.append(Row(lane, calls, metas))
            nonces.append(drawn)
        taken = self.do(self.enqueues[sender].enqueue(rows))
        for row, drawn, part in zip(rows, nonces, taken, strict=True):
            assert part.depth is None
            for entry, nonce in zip(part.entries, drawn, strict=True):
                lane = PRIORITIES.index(row.lane)
                self.where[placed_id(self.queue, lane, entry, nonce)] = "waits"
