"""What the state machine of tasks drives, and what a plain client finds of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from tests.store.hands import understand

from castwork.model.queue import Queue
from castwork.model.record import decode_record
from castwork.model.settings import LinkSettings
from castwork.model.states import TaskState
from castwork.redis.connections import Connections
from castwork.store import scripts
from castwork.store.place import QueuePlace
from castwork.store.scripts import Script

T = TypeVar("T")

#: Scripts that take what is there: a second call takes something else.
_TAKE = {scripts.CLAIM, scripts.RECOVER}
#: Scripts whose second call finds nothing left to do, and says so.
_NOTHING_LEFT = {scripts.RELEASE, scripts.UNPARK, scripts.RETIRE}


class TwicePlace(QueuePlace):
    """Sends each script call again, as if its reply had been lost: the answer must be the same."""

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        timeout: float | None = None,
    ) -> Any:
        first = await super().run(script, keys, args, timeout=timeout)
        if script in _TAKE:
            return first
        again = await super().run(script, keys, args, timeout=timeout)
        if script in _NOTHING_LEFT:
            left = again[0] if isinstance(again, list) else again
            assert left == 0, (script.name, first, again)
        elif script is scripts.FINISH:
            assert _each(again, args[3]) == _each(first, args[3]), (script.name, first, again)
        else:
            assert again == first, (script.name, first, again)
        return first


def _each(reply: Any, tasks: int) -> list[int]:
    return [1] * tasks if reply == b"all" else list(reply)


class Server:
    """A server, and an event loop on which to talk to it from plain functions."""

    def __init__(self, url: str, client: redis.Redis, runner: asyncio.Runner) -> None:
        self.client = client
        self._runner = runner
        self.connections = Connections(lambda: url, LinkSettings())
        self.do(self.connections.open())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def delete_keys(self, place: QueuePlace) -> None:
        """Leave nothing of a queue behind."""
        keys = [*self.client.scan_iter(f"{place.keys.prefix}*", count=1000), *place.keys.lanes]
        self.client.delete(*keys)

    @classmethod
    @contextmanager
    def at(cls, url: str) -> Iterator[Server]:
        with asyncio.Runner() as runner, redis.Redis.from_url(url) as client:
            server = cls(url, client, runner)
            yield server
            server.do(server.connections.close())


class Truth:
    """What a plain client finds of a queue.

    Attributes:
        places: per task all places that it is in.
        elsewhere: place of each task whose entry names its id, as `moved` should have it.
        moved: what `moved` has.
        pending: per lane entries, owners and deliveries.
        records: by task id.
    """

    def __init__(self, client: redis.Redis, place: QueuePlace) -> None:
        queue, keys = place.queue, place.keys
        pipeline = client.pipeline(transaction=False)
        for stream in keys.lanes:
            pipeline.xrange(stream)
            pipeline.xpending_range(stream, queue.group, "-", "+", 1000)
            pipeline.xinfo_groups(stream)
        for key in (keys.moved, keys.parked):
            pipeline.hgetall(key)
        pipeline.zrange(keys.due, 0, -1)
        pipeline.hgetall(keys.letters)
        pipeline.xrange(keys.dead)
        *lanes, moved, parked, due, letters, dead = pipeline.execute()
        self.places: dict[str, list[str]] = {}
        self.elsewhere: dict[bytes, bytes] = {}
        self.moved = moved
        self.parked = {task.decode() for task in parked}
        self.due = {task.decode() for task in due}
        self.letters = letters
        self.dead = {fields[b"id"]: entry for entry, fields in dead}
        self.pending: dict[tuple[int, bytes], tuple[str, int]] = {}
        for lane in range(len(keys.lanes)):
            entries, pending, (group,) = lanes[3 * lane : 3 * lane + 3]
            self._add_lane(queue, lane, entries, pending, group["last-delivered-id"])
        for task in self.parked | self.due:
            self._found(task, "parked")

    def _add_lane(
        self, queue: Queue, lane: int, entries: Any, pending: Any, delivered: bytes
    ) -> None:
        held = {p["message_id"]: (p["consumer"].decode(), p["times_delivered"]) for p in pending}
        for entry, fields in entries:
            is_left = entry not in held and _position(entry) <= _position(delivered)
            if is_left and queue.lanes[lane].name == "stream" and not queue.owned:
                continue  # done, and kept for others
            flat = [part for pair in fields.items() for part in pair]
            task, names_id, _ = understand(queue, lane, entry, flat)
            self._found(task, "left" if is_left else "lane")
            if names_id:
                self.elsewhere[task.encode()] = b"%b:%b" % (queue.lanes[lane].name.encode(), entry)
        for entry, owner in held.items():
            self.pending[lane, entry] = owner

    def _found(self, task: str, where: str) -> None:
        self.places.setdefault(task, []).append(where)


def _position(entry: bytes) -> tuple[int, int]:
    ms, _, count = entry.partition(b"-")
    return int(ms), int(count)


def final_status(raw: bytes | None) -> TaskState | None:
    """The status of a record that is final, else None."""
    if raw is None:
        return None
    status = decode_record(raw).status
    return status if status.is_final else None
