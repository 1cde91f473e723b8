"""Look: counts what is in a queue; changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from castwork.model.errors import ServerRefused
from castwork.store.place import QueuePlace


class QueueInfo(msgspec.Struct):
    """One queue.

    Attributes:
        waiting: tasks per lane that no worker has taken.
        running: tasks that workers hold.
        scheduled: tasks that wait for a time.
        dead: dead letters.
        depth: waiting and running together.
        max_depth: bound on the depth, 0 for none.
    """

    name: str
    waiting: dict[str, int]
    running: int
    scheduled: int
    dead: int
    depth: int
    max_depth: int = 0


async def look_at_queue(place: QueuePlace) -> QueueInfo:
    """Read one queue.

    Raises:
        ConnectionFailed: no server in time.
    """
    link, keys, queue = await place.link(), place.keys, place.queue
    lengths = [link.call("XLEN", stream) for stream in keys.lanes]
    groups = [link.call("XINFO", "GROUPS", stream) for stream in keys.lanes]
    counts = [link.call("ZCARD", keys.due), link.call("XLEN", keys.dead)]
    replies = await asyncio.gather(*lengths, *groups, *counts, return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, ServerRefused):
            raise reply
    n = len(queue.lanes)
    waiting, running = {}, 0
    for lane, length, found in zip(queue.lanes, replies[:n], replies[n : 2 * n], strict=True):
        pending = _pending(found, queue.group)
        running += pending
        waiting[lane.name] = max(0, _count(length) - pending)
    scheduled, dead = (_count(reply) for reply in replies[2 * n :])
    depth = sum(waiting.values()) + running
    return QueueInfo(queue.name, waiting, running, scheduled, dead, depth, queue.settings.max_depth)


def _count(reply: Any) -> int:
    """A count, zero where the key does not exist or is of another kind."""
    return reply if isinstance(reply, int) else 0


def _pending(groups: Any, name: str) -> int:
    if isinstance(groups, BaseException):
        return 0
    for group in groups:
        if group[b"name"] == name.encode():
            return int(group[b"pending"])
    return 0
