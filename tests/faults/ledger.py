"""Where the tasks of a queue are, read with a plain client: none may be lost or doubled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import redis

from castwork.model.ids import PlaceNames, lane_suffix
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys


class Left(NamedTuple):
    """How much of what has not ended a queue holds.

    Attributes:
        entries: in all lanes: waiting and running tasks.
        pending: entries that workers hold.
        scheduled: tasks that wait for their time.
        parked: what they will be when it has come.
        moved: places of waiting and running tasks whose ids do not name them.
    """

    entries: int
    pending: int
    scheduled: int
    parked: int
    moved: int


class Ledger:
    """Looks at the keys of one queue."""

    def __init__(self, client: redis.Redis, namespace: str, queue: Queue) -> None:
        self.client = client
        self.keys = QueueKeys.of(namespace, queue)
        self.streams = self.keys.lanes
        self._queue = queue

    def record(self, task_id: str) -> dict[str, Any] | None:
        raw = self.client.get(self.keys.record(task_id))
        return None if raw is None else json.loads(raw)

    def states(self, task_ids: Iterable[str]) -> Counter[str]:
        """How many tasks are in which state; `none` counts those that nobody knows."""
        ids = list(task_ids)
        if not ids:
            return Counter()
        with self.client.pipeline(transaction=True) as pipe:
            for stream in self.streams:
                pipe.xrange(stream)
            pipe.mget([self.keys.record(task_id) for task_id in ids])
            *lanes, raw = pipe.execute()
        queued = self._ids_in(lanes)
        return Counter(
            json.loads(record)["status"] if record else "queued" if task_id in queued else "none"
            for task_id, record in zip(ids, raw, strict=True)
        )

    def _ids_in(self, lanes: list[list[tuple[bytes, dict[bytes, bytes]]]]) -> set[str]:
        """The ids of the tasks whose entries are in the lanes."""
        queue, places = self._queue, PlaceNames()
        ids: set[str] = set()
        for lane, entries in zip(queue.lanes, lanes, strict=True):
            for entry, fields in entries:
                if lane.name == "stream":
                    ids.add(f"{queue.stream}:{queue.group}:{entry.decode()}")
                    continue
                call = fields.get(b"call", b"").split(b" ", 2)
                nonce = call[1].decode(errors="replace") if len(call) == 3 else ""
                made = f"{queue.name}-{places.name(entry)}{lane_suffix(lane.priority)}{nonce}"
                ids.add(fields[b"id"].decode(errors="replace") if b"id" in fields else made)
        return ids

    def left(self) -> Left:
        """What has not ended, read in one transaction: between two reads, a task can move."""
        count = len(self.streams)
        with self.client.pipeline(transaction=True) as pipe:
            for stream in self.streams:
                pipe.xlen(stream)
            for stream in self.streams:
                pipe.xpending(stream, self._queue.group)
            pipe.zcard(self.keys.due)
            pipe.hlen(self.keys.parked)
            pipe.hlen(self.keys.moved)
            found = pipe.execute(raise_on_error=False)
        # A stream or group that is not there yet is an error, and holds nothing.
        held = [0 if isinstance(r, redis.ResponseError) else r["pending"] for r in found[count:-3]]
        # What others read, too, stays in their stream.
        lengths = zip(self._queue.lanes, found, strict=False)
        owned = sum(n for lane, n in lengths if lane.name != "stream" or self._queue.owned)
        return Left(owned, sum(held), *found[-3:])

    def entries(self) -> int:
        """Entries in all lanes: waiting and running tasks."""
        return self.left().entries

    def pending(self) -> int:
        """Entries that workers hold."""
        return self.left().pending

    def scheduled(self) -> int:
        """Tasks that wait for their time."""
        return self.left().scheduled

    def dead(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(self.keys.dead)]

    def attempts(self, task_ids: Iterable[str]) -> Counter[int]:
        """How many tasks took how many attempts."""
        records = [self.record(task_id) or {} for task_id in task_ids]
        return Counter(record.get("attempts", 0) for record in records)

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not any(self.left())

    def assert_conserved(self, task_ids: Iterable[str], **states: int) -> None:
        """Every task has exactly the outcome it should have, and nothing else is left."""
        ids = list(task_ids)
        assert len(set(ids)) == len(ids), "two tasks have the same id"
        assert self.states(ids) == Counter(states)
        assert len(ids) == sum(states.values())
        self.assert_nothing_waits()
        assert len(self.dead()) == self.client.hlen(self.keys.letters) == states.get("dead", 0)

    def assert_nothing_waits(self) -> None:
        """Nothing is left in a stream, in a pending list, in the schedule or in an index."""
        assert self.left() == Left(0, 0, 0, 0, 0)
