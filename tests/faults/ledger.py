"""Where the tasks of a queue are, read with a plain client: none may be lost or doubled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import redis

from castwork.redis.keys import QueueKeys


class Ledger:
    """Looks at the keys of one queue.

    Args:
        streams: streams and groups beside the queue's own lanes (an adopted stream).
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: QueueKeys,
        *,
        group: str = "workers",
        adopted: str = "",
    ) -> None:
        self.client = client
        self.keys = keys
        self.group = group
        self.streams = [*keys.lanes.values(), *([adopted] if adopted else [])]

    def record(self, task_id: str) -> dict[str, Any] | None:
        raw = self.client.get(self.keys.record(task_id))
        return None if raw is None else json.loads(raw)

    def states(self, task_ids: Iterable[str]) -> Counter[str]:
        """How many tasks are in which state; `none` counts those that nobody knows."""
        ids = list(task_ids)
        if not ids:
            return Counter()
        places = self.client.hmget(self.keys.entries, ids)
        raw = self.client.mget([self.keys.record(task_id) for task_id in ids])
        return Counter(
            json.loads(record)["state"] if record else "queued" if place else "none"
            for place, record in zip(places, raw, strict=True)
        )

    def entries(self) -> int:
        """Entries in all lanes: waiting and running tasks."""
        return sum(self.client.xlen(stream) for stream in self.streams)

    def pending(self) -> int:
        """Entries that workers hold."""
        found = 0
        for stream in self.streams:
            if self.client.exists(stream):
                groups = {g["name"]: g["pending"] for g in self.client.xinfo_groups(stream)}
                found += groups.get(self.group.encode(), 0)
        return found

    def scheduled(self) -> int:
        count = int(self.client.zcard(self.keys.scheduled))
        assert count == self.client.hlen(self.keys.parked), "scheduled and parked differ"
        return count

    def dead(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(self.keys.dead)]

    def attempts(self, task_ids: Iterable[str]) -> Counter[int]:
        """How many tasks took how many attempts."""
        records = [self.record(task_id) or {} for task_id in task_ids]
        return Counter(record.get("attempts", 0) for record in records)

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not (self.entries() or self.pending() or self.scheduled())

    def assert_conserved(self, task_ids: Iterable[str], **states: int) -> None:
        """Every task has exactly the outcome it should have, and nothing else is left."""
        ids = list(task_ids)
        assert len(set(ids)) == len(ids), "two tasks have the same id"
        assert self.states(ids) == Counter(states)
        assert len(ids) == sum(states.values())
        self.assert_nothing_waits()
        assert len(self.dead()) == states.get("dead", 0)

    def assert_nothing_waits(self) -> None:
        """Nothing is left in a stream, in a pending list or in the schedule."""
        assert (self.entries(), self.pending(), self.scheduled()) == (0, 0, 0)
        assert self.client.hlen(self.keys.entries) == 0, "an entry left its place behind"
