"""Workers as tests play them: what they believe to own, and their ways to the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from castwork.model.delivery import Delivery
from castwork.model.entry import Entry, Meta, parse_entry
from castwork.model.ids import PlaceNames, lane_suffix, producer_of
from castwork.model.queue import Queue
from castwork.model.record import Record, encode_record
from castwork.model.states import TaskState
from castwork.store.claims import Claims
from castwork.store.outcomes import EndedTasks, Outcomes
from castwork.store.place import QueuePlace


@dataclass(frozen=True)
class Token:
    """What a worker believes to own.

    Attributes:
        worker: whose belief.
        lane: position of the lane.
        entry: id of the entry.
        deliveries: the fencing token, together with the worker.
        task: the task's id.
        moved: whether the entry names the id.
        before: attempts before this entry.
    """

    worker: str
    lane: int
    entry: bytes
    deliveries: int
    task: str
    moved: bool
    before: int = 0

    @property
    def delivery(self) -> Delivery:
        made = Delivery(self.lane, self.entry, self.deliveries)
        made.task_id = self.task
        made.producer = producer_of(self.task)
        made.moved = self.moved
        return made

    @property
    def attempts(self) -> int:
        return self.before + self.deliveries

    def record(self, status: TaskState) -> bytes:
        """A record that tells who made it: a repeated call knows its own."""
        return encode_record(Record(status, repr(self), self.attempts, self.worker))

    def next_entry(self) -> Entry:
        """The entry under which the task waits again."""
        return waiting_again(self.task, self.attempts)


class Hand:
    """One worker's ways to the store."""

    def __init__(self, place: QueuePlace, name: str) -> None:
        self.name = name
        self.queue = place.queue
        self.claims = Claims(place, name)
        self.outcomes = Outcomes(place, name)

    def token(self, lane: int, entry: bytes, fields: list[bytes], deliveries: int = 1) -> Token:
        """What this worker got."""
        task, moved, before = understand(self.queue, lane, entry, fields)
        return Token(self.name, lane, entry, deliveries, task, moved, before)

    async def take(self, count: int = 100) -> list[Token]:
        """Claim what waits."""
        batch = await self.claims.claim(count, [0] * len(self.queue.lanes))
        return [self.token(lane, *entry) for lane, entries in batch.lanes for entry in entries]

    async def take_over(self, lane: int, count: int = 100) -> list[Token]:
        """Recover, with every lease taken for expired."""
        found = await self.claims.recover(lane, lease_ms=0, cursor="-", count=count)
        return [self.token(lane, *left) for left in found.left]

    async def finish(self, tokens: Sequence[Token], records: Sequence[bytes]) -> list[bool]:
        """Store outcomes; those of later attempts may have chunks."""
        later = [number for number, token in enumerate(tokens) if token.deliveries > 1]
        ended = EndedTasks(
            [token.delivery for token in tokens], records, [600_000] * len(tokens), later
        )
        stored = await self.outcomes.finish(ended)
        return [True] * len(tokens) if stored is None else stored


def waiting_again(task: str, attempts: int) -> Entry:
    """An entry that names its id, and remembers attempts."""
    nonce = task[-14:].encode() if producer_of(task) else b"-"
    return Entry(b"f", nonce, b"{}", task, 7, Meta(attempts=attempts))


def understand(queue: Queue, lane: int, entry: bytes, fields: list[bytes]) -> tuple[str, bool, int]:
    """Task id of an entry, whether the entry names it, and the attempts before it."""
    if queue.lanes[lane].name == "stream":
        return f"{queue.stream}:{queue.group}:{entry.decode()}", False, 0
    parsed = parse_entry(fields)
    task_id = parsed.id or placed_id(queue, lane, entry, parsed.nonce)
    return task_id, bool(parsed.id), parsed.meta.attempts if parsed.meta else 0


def placed_id(queue: Queue, lane: int, entry: bytes, nonce: bytes) -> str:
    """The id that names the place of an entry."""
    place = PlaceNames().name(entry) + lane_suffix(queue.lanes[lane].priority)
    return f"{queue.id_prefix}-{place}{nonce.decode()}"
