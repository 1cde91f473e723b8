"""Told: hears the outcomes that workers publish, and hands them to the watchers in this process.

One Redis channel per producer carries the outcomes of all tasks of that producer. A message tells
a group of outcomes: the records' keys, then the records, a line each.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from castwork.model.ids import producer_of
from castwork.redis.pushes import Pushes
from castwork.store.place import QueuePlace

#: Seconds that a subscription outlasts its last watcher, so that tasks which are awaited one after
#: the other share it.
_LINGER = 1.0

#: Records kept per producer, and bytes that a kept record may have.
_KEPT = 1000
_KEPT_BYTES = 4000


class Watcher(Protocol):
    """Hears of one task. Both methods must return at once."""

    def on_record(self, raw: bytes) -> None:
        """Take a record of the task, as JSON."""

    def on_resumed(self) -> None:
        """Learn that the connection was away: records may have been missed."""


class _Line:
    """One producer's channel, with the watchers of each task.

    The last records are kept, so that a watcher that comes after its task has ended hears the
    outcome without a call to the server.

    Attributes:
        ready: done once the channel is subscribed; None before anybody asked for that.
        complete_since: monotonic time since which no record was missed, nor dropped.
    """

    def __init__(self, on_idle: Callable[[_Line], None]) -> None:
        self.ready: asyncio.Future[None] | None = None
        self.complete_since = math.inf
        self._watchers: dict[bytes, list[Watcher]] = {}
        self._recent: dict[bytes, tuple[float, bytes]] = {}
        self._on_idle = on_idle
        self._leaving: asyncio.TimerHandle | None = None

    def add(self, key: bytes, watcher: Watcher) -> None:
        self._watchers.setdefault(key, []).append(watcher)
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def remove(self, key: bytes, watcher: Watcher) -> None:
        watchers = self._watchers.get(key, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(key, None)
        if not self._watchers and self._leaving is None:
            loop = asyncio.get_running_loop()
            self._leaving = loop.call_later(_LINGER, self._on_idle, self)

    def repeat(self, key: bytes, watcher: Watcher, since: float) -> None:
        """Hand a watcher the record that was heard of a task since then, if any."""
        heard_at, record = self._recent.get(key, (-math.inf, b""))
        if heard_at >= since:
            watcher.on_record(record)

    def forget(self, key: bytes) -> None:
        """Drop the kept record of a task."""
        self._recent.pop(key, None)

    def on_message(self, payload: bytes) -> None:
        """Hand each record of a message to the watchers of its task."""
        lines = payload.split(b"\n")
        count = len(lines) // 2
        watchers, now = self._watchers, time.monotonic()
        for number in range(count):
            key, record = lines[number], lines[count + number]
            self._keep(key, record, now)
            for watcher in tuple(watchers.get(key, ())):
                watcher.on_record(record)

    def _keep(self, key: bytes, record: bytes, now: float) -> None:
        recent = self._recent
        recent.pop(key, None)  # so that the newest records stand last
        if len(record) > _KEPT_BYTES:
            self.complete_since = now
            return
        recent[key] = now, record
        if len(recent) > _KEPT:
            del recent[next(iter(recent))]
            self.complete_since = now

    def on_resumed(self) -> None:
        self.complete_since = time.monotonic()
        for watchers in tuple(self._watchers.values()):
            for watcher in tuple(watchers):
                watcher.on_resumed()


class Told:
    """Hears of the tasks of one queue, for the watchers in this process."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._lines: dict[str, _Line] = {}
        self._pushes: Pushes | None = None

    async def watch(self, task_id: str, watcher: Watcher, *, since: float | None = None) -> bool:
        """Hear of a task: the watcher is told each record that is stored after the return.

        Args:
            task_id: the task.
            watcher: is told the task's records.
            since: monotonic time before the task was enqueued; None if unknown. A record that was
                heard since then is told at once.

        Returns:
            Whether every record that was stored since then has been heard, so that the caller
            need not ask the server.

        Raises:
            ConnectionFailed: no server in time.
            ServerRefused: the subscription was refused.
        """
        await self._place.link()
        pushes = self._place.connections.pushes
        if pushes is not self._pushes:
            # The connections were opened anew, and the old subscriptions ended with them.
            self._pushes = pushes
            self._lines.clear()
        producer = producer_of(task_id)
        line = self._lines.get(producer)
        if line is None:
            line = self._lines[producer] = _Line(lambda line: self._leave(producer, line))
        line.add(self._key(task_id), watcher)
        try:
            if line.ready is None:
                line.ready = asyncio.ensure_future(self._listen(producer, line))
            if not line.ready.done():
                await asyncio.shield(line.ready)
            else:
                line.ready.result()
        except BaseException:
            line.remove(self._key(task_id), watcher)
            raise
        if since is None:
            return False
        line.repeat(self._key(task_id), watcher, since)
        return line.complete_since <= since

    def unwatch(self, task_id: str, watcher: Watcher) -> None:
        """Stop hearing of a task."""
        line = self._lines.get(producer_of(task_id))
        if line is not None:
            line.remove(self._key(task_id), watcher)

    def forget(self, task_id: str) -> None:
        """Drop what was heard of a task, as the task is queued again."""
        line = self._lines.get(producer_of(task_id))
        if line is not None:
            line.forget(self._key(task_id))

    def _key(self, task_id: str) -> bytes:
        return self._place.keys.record(task_id).encode()

    async def _listen(self, producer: str, line: _Line) -> None:
        try:
            await self._place.listen(self._place.told(producer), line)
            line.complete_since = time.monotonic()
        except BaseException:
            if self._lines.get(producer) is line:
                del self._lines[producer]
            raise

    def _leave(self, producer: str, line: _Line) -> None:
        if self._lines.get(producer) is line:
            del self._lines[producer]
            self._place.unlisten(self._place.told(producer), line)
