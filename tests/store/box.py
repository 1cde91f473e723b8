"""A queue in a box: its place, its workers, and what the tests of the store do with it."""

from __future__ import annotations

from tests.store.hands import Hand, Token, placed_id

from castwork.model.entry import Entry
from castwork.model.ids import new_digits
from castwork.model.queue import Queue
from castwork.model.record import Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.redis.connections import Connections
from castwork.store.enqueues import Enqueues, NamedTask, Row
from castwork.store.keys import QueueKeys
from castwork.store.letters import Letters
from castwork.store.parked import Parked, parked_task
from castwork.store.place import QueuePlace
from castwork.store.records import Records

QUEUED = encode_record(Record(TaskState.QUEUED, "f"))
SCHEDULED = encode_record(Record(TaskState.SCHEDULED, "f"))


class Box:
    """One queue, two workers and one producer."""

    def __init__(self, connections: Connections, namespace: str, queue: Queue) -> None:
        self.place = place = QueuePlace(connections, namespace, queue)
        self.queue = queue
        self.enqueues = Enqueues(place)
        self.parked, self.letters, self.records = Parked(place), Letters(place, 5), Records(place)
        self.alice, self.bob = Hand(place, "alice"), Hand(place, "bob")

    @property
    def keys(self) -> QueueKeys:
        return self.place.keys

    async def put(
        self, count: int = 1, lane: Priority = Priority.NORMAL, producer: str = "PRODU1"
    ) -> list[str]:
        """Enqueue plain tasks, and return their ids."""
        nonces = [(producer + new_digits()).encode() for _ in range(count)]
        row = Row(lane, [b"f %b {}" % nonce for nonce in nonces])
        (taken,) = await self.enqueues.enqueue([row])
        number = list(Priority).index(lane)
        return [
            placed_id(self.queue, number, entry, nonce)
            for entry, nonce in zip(taken.entries, nonces, strict=True)
        ]

    def named(
        self,
        task_id: str,
        *,
        lane: Priority = Priority.NORMAL,
        key: tuple[str, str, str] | None = None,
        delay_ms: int = 0,
    ) -> NamedTask:
        """A task with an id of its own."""
        entry = Entry(b"f", b"PRODU1" + new_digits().encode(), b"{}", task_id)
        task = NamedTask(task_id, lane, entry.call, delay_ms=delay_ms)
        if delay_ms:
            task.parked, task.record = parked_task(entry, lane, QUEUED), SCHEDULED
        if key is not None:
            task.key, task.key_ttl_ms = key, 60_000
        return task

    async def put_named(self, task: NamedTask) -> tuple[str, bool] | int:
        """Enqueue it."""
        (reply,) = await self.enqueues.enqueue_named([task])
        return reply if isinstance(reply, int) else reply[:2]

    async def held(self, count: int = 1, lane: Priority = Priority.NORMAL) -> list[Token]:
        """Tasks that alice holds."""
        await self.put(count, lane)
        return await self.alice.take()

    async def succeed(self, hand: Hand, *tokens: Token) -> list[bool]:
        """Finish tasks."""
        return await hand.finish(tokens, [token.record(TaskState.SUCCEEDED) for token in tokens])
