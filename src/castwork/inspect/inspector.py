"""Inspector: what waits, what runs, and who works."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from castwork.model.errors import ServerRefused
from castwork.redis.connections import Connections
from castwork.redis.keys import QueueKeys, WorkerKeys

#: Milliseconds of silence after which a worker is shown as lost.
_LOST_AFTER_MS = 10_000


class QueueInfo(msgspec.Struct):
    """One queue.

    Attributes:
        waiting: tasks per lane that no worker has taken.
        running: tasks that workers hold.
        scheduled: tasks that wait for a time.
        dead: dead letters.
        depth: waiting and running together.
        max_depth: bound on it, 0 for none.
    """

    name: str
    waiting: dict[str, int]
    running: int
    scheduled: int
    dead: int
    depth: int
    max_depth: int = 0


class Inspector:
    """Reads the state of an app's queues and workers."""

    def __init__(self, connections: Connections, keys: WorkerKeys) -> None:
        self._connections = connections
        self._keys = keys

    async def queue(
        self,
        name: str,
        keys: QueueKeys,
        lanes: list[tuple[str, str, str]],
        *,
        max_depth: int = 0,
    ) -> QueueInfo:
        """Read one queue.

        Args:
            lanes: per lane its name, stream and group.

        Raises:
            ConnectionFailed: no server in time.
        """
        if not self._connections.is_open:
            await self._connections.open()
        call = self._connections.commands.call
        lengths = [call("XLEN", stream) for _, stream, _ in lanes]
        groups = [call("XINFO", "GROUPS", stream) for _, stream, _ in lanes]
        counts = [call("ZCARD", keys.scheduled), call("XLEN", keys.dead)]
        replies = await asyncio.gather(*lengths, *groups, *counts, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ServerRefused):
                raise reply
        n = len(lanes)
        waiting, running = {}, 0
        for (lane, _, group), length, found in zip(
            lanes, replies[:n], replies[n : 2 * n], strict=True
        ):
            pending = _pending(found, group)
            running += pending
            waiting[lane] = max(0, _count(length) - pending)
        return QueueInfo(
            name,
            waiting,
            running,
            _count(replies[2 * n]),
            _count(replies[2 * n + 1]),
            sum(waiting.values()) + running,
            max_depth,
        )

    async def workers(self) -> list[dict[str, Any]]:
        """The live workers: what each says of itself, and seconds since its last sign of life."""
        if not self._connections.is_open:
            await self._connections.open()
        call = self._connections.commands.call
        time, scores, infos = await asyncio.gather(
            call("TIME"),
            call("ZRANGE", self._keys.members, 0, -1, "WITHSCORES"),
            call("HGETALL", self._keys.info),
        )
        now = int(time[0]) * 1000 + int(time[1]) // 1000
        workers = []
        for member, score in scores:
            raw = infos.get(member)
            if raw is not None:
                info = msgspec.json.decode(raw)
                info["silent_for"] = max(0.0, (now - score) / 1000)
                info["lost"] = now - score > _LOST_AFTER_MS
                workers.append(info)
        return sorted(workers, key=lambda info: str(info["id"]))


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
