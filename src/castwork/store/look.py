"""Look: counts what is in a queue; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from castwork.model.errors import ServerRefused
from castwork.model.ids import is_worker_id
from castwork.model.position import Position
from castwork.store.place import QueuePlace
from castwork.store.scripts import BEHIND
from castwork.store.unserved import Unserved

#: Tasks that are counted one by one, at most.
_COUNTED = 1000


class ForeignConsumer(msgspec.Struct):
    """A program that is no castwork worker, and reads an adopted stream with its group.

    Attributes:
        name: the consumer's name.
        pending: entries that it was given and has not acknowledged.
        idle: seconds since it last asked for entries.
    """

    name: str
    pending: int
    idle: float


class QueueInfo(msgspec.Struct):
    """One queue.

    Attributes:
        waiting: tasks per lane that no worker has taken. Where the server does not tell how far an
            adopted stream's group is behind, at most 1000 of the stream are counted.
        running: tasks that workers hold, foreign consumers of an adopted stream's group included.
        scheduled: tasks that wait for a time.
        held: tasks that limits hold back: they wait, in no lane.
        due: those of them whose time has come, and which workers have not queued yet; at most 1000
            are counted.
        oldest: seconds for which the first task of all lanes has waited; None where none waits.
        paused: whether workers may begin no tasks.
        dead: dead letters.
        depth: waiting, held back and running together.
        served: whether a live worker serves the queue.
        max_depth: bound on the depth, 0 for none.
        group: the group that reads an adopted stream, empty for a queue of castwork's own.
        foreign: who reads an adopted stream with the same group, and is no castwork worker.
    """

    name: str
    waiting: dict[str, int]
    running: int
    scheduled: int
    dead: int
    depth: int
    held: int = 0
    due: int = 0
    oldest: float | None = None
    paused: bool = False
    served: bool = False
    max_depth: int = 0
    group: str = ""
    foreign: list[ForeignConsumer] = []


async def look_at_queue(place: QueuePlace, unserved: Unserved) -> QueueInfo:
    """Read one queue.

    Raises:
        ConnectionFailed: no server in time.
    """
    link, keys, queue = await place.link(), place.keys, place.queue
    lengths = [link.call("XLEN", stream) for stream in keys.lanes]
    groups = [link.call("XINFO", "GROUPS", stream) for stream in keys.lanes]
    counts = [link.call("ZCARD", keys.due), link.call("XLEN", keys.dead)]
    counts += [link.call("EXISTS", keys.paused), link.call("ZCARD", keys.waiters)]
    replies = await asyncio.gather(
        link.call("TIME"), *lengths, *groups, *counts, return_exceptions=True
    )
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, ServerRefused):
            raise reply
    time: Any = replies[0]
    replies = replies[1:]
    n = len(queue.lanes)
    waiting, running, given = {}, 0, {}
    for lane, length, found in zip(queue.lanes, replies[:n], replies[n : 2 * n], strict=True):
        group = _group(found, queue.group)
        given[lane.name] = "0-0" if group is None else group[b"last-delivered-id"].decode()
        pending = int(group[b"pending"]) if group is not None else 0
        running += pending
        if lane.name == "stream" and group is not None:
            waiting[lane.name] = await _behind(place, group, _count(length))
        else:
            waiting[lane.name] = max(0, _count(length) - pending)
    scheduled, dead, paused, held = (_count(reply) for reply in replies[2 * n :])
    depth = sum(waiting.values()) + running + held
    info = QueueInfo(queue.name, waiting, running, scheduled, dead, depth, held)
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    if scheduled:
        due = await link.call("ZRANGEBYSCORE", keys.due, "-inf", now_ms, "LIMIT", 0, _COUNTED)
        info.due = len(due)
    behind = [last if waiting[name] else "" for name, last in given.items()]
    info.oldest = await _oldest(place, behind, now_ms)
    info.paused, info.served = paused > 0, await unserved.is_served()
    info.max_depth = queue.settings.max_depth
    if queue.stream is not None:
        info.group, info.foreign = queue.group, await _foreign(place, queue.stream)
    return info


async def _oldest(place: QueuePlace, given: Sequence[str], now_ms: int) -> float | None:
    """Seconds for which the first task of all lanes has waited.

    Args:
        place: the queue.
        given: per lane the last entry that the group was given, empty where none waits.
        now_ms: the server's time.
    """
    link = await place.link()
    reads = [
        link.call("XRANGE", stream, f"({last}", "+", "COUNT", 1)
        for stream, last in zip(place.keys.lanes, given, strict=True)
        if last
    ]
    firsts = [Position.parse(page[0][0]).major for page in await asyncio.gather(*reads) if page]
    return max(0.0, (now_ms - min(firsts)) / 1000) if firsts else None


def _count(reply: Any) -> int:
    """A count, zero where the key does not exist or is of another kind."""
    return reply if isinstance(reply, int) else 0


def _group(groups: Any, name: str) -> Mapping[bytes, Any] | None:
    """What the server says of a group, None where there is none."""
    if isinstance(groups, BaseException):
        return None
    return next((group for group in groups if group[b"name"] == name.encode()), None)


async def _behind(place: QueuePlace, group: Mapping[bytes, Any], length: int) -> int:
    """Entries of an adopted stream that its group has not been given yet.

    Entries that the group has done with may lie in the stream for ever, as others read them too.
    """
    lag = group.get(b"lag")
    if lag is None:
        lag = await place.run(
            BEHIND, [place.keys.lanes[-1]], [group[b"last-delivered-id"], _COUNTED]
        )
    return min(int(lag), length)


async def _foreign(place: QueuePlace, stream: str) -> list[ForeignConsumer]:
    """The consumers of an adopted stream's group that are no castwork workers."""
    try:
        consumers = await place.call("XINFO", "CONSUMERS", stream, place.queue.group)
    except ServerRefused:  # there is no such group yet
        return []
    return [
        ForeignConsumer(name, int(one[b"pending"]), one[b"idle"] / 1000)
        for one in consumers
        if not is_worker_id(name := one[b"name"].decode(errors="replace"))
    ]
