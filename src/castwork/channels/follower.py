"""Follower: one channel's events for one reader, in order, and honest about gaps."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator

from castwork.channels.event import Resync
from castwork.model.errors import CastworkError, ConnectionFailed
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys

logger = logging.getLogger(__name__)

#: Events held for a slow reader. Beyond, a history is read again; without one, events are lost.
_HELD = 2000

#: Events read per call while catching up.
_PAGE = 500

#: Seconds between tries to catch up while the server is away.
_PATIENCE = 0.2

Raw = tuple[str, bytes]


class PlainFollower:
    """Follows a plain Redis channel.

    Nothing is kept by the server: after a reconnect, or when the reader is too slow, a
    `Resync` says that events may be missing.
    """

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._events: deque[Raw | Resync] = deque()
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Subscribe; what is published after the return is heard."""
        if not self._connections.is_open:
            await self._connections.open()
        await self._connections.pushes.add(self._channel, self)

    def close(self) -> None:
        """End the subscription."""
        self._connections.pushes.remove(self._channel, self)

    def on_message(self, payload: bytes) -> None:
        if len(self._events) >= _HELD:
            self._events.clear()
            self._events.append(Resync(self._channel))
        self._events.append(("", payload))
        self._news.set()

    def on_resumed(self) -> None:
        self._events.append(Resync(self._channel))
        self._news.set()

    async def events(self) -> AsyncIterator[Raw | Resync]:
        """Yield events for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._events:
                yield self._events.popleft()


class HistoryFollower:
    """Follows a channel with a history.

    Each live event names its predecessor. One that does not follow on the last event shows a
    gap, which is filled from the history; where the history is too short, a `Resync` comes
    first. Every event comes once and in order.

    Args:
        after: id of the last event that the reader has; None to begin with the next one, "0"
            for the whole history.
    """

    def __init__(
        self,
        connections: Connections,
        channel: str,
        keys: ChannelKeys,
        *,
        after: str | None = None,
    ) -> None:
        self._connections = connections
        self._channel = channel
        self._keys = keys
        self._after = after
        self._live: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._behind = after is not None
        self.last = after or "0-0"

    async def start(self) -> None:
        """Subscribe; what is published after the return is heard.

        Raises:
            CastworkError: `after` is no event id.
        """
        if not self._connections.is_open:
            await self._connections.open()
        _position(self.last)
        await self._connections.pushes.add(self._keys.live, self)
        if self._after is None:
            self.last = await self._newest()

    def close(self) -> None:
        """End the subscription."""
        self._connections.pushes.remove(self._keys.live, self)

    def on_message(self, payload: bytes) -> None:
        if len(self._live) >= _HELD:
            self._live.clear()  # the reader is slow: the history holds them for it
            self._behind = True
        self._live.append(payload)
        self._news.set()

    def on_resumed(self) -> None:
        self._behind = True
        self._news.set()

    async def events(self) -> AsyncIterator[Raw | Resync]:
        """Yield events for ever."""
        if self._behind:
            self._news.set()
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                async for item in self._next():
                    yield item
            except ConnectionFailed as error:
                logger.warning("channel %s: catching up waits: %s", self._channel, error)
                self._behind = True
                self._news.set()
                await asyncio.sleep(_PATIENCE)

    async def _next(self) -> AsyncIterator[Raw | Resync]:
        """Yield what has come, and what is found to be missing."""
        if self._behind:
            self._behind = False
            async for missed in self.catch_up():
                yield missed
        while self._live:
            try:
                event_id, previous, raw = _parse_live(self._live.popleft())
            except ValueError:
                logger.warning("channel %s: a message is not castwork's", self._channel)
                continue
            if _position(event_id) > _position(self.last) and previous != self.last:
                async for missed in self.catch_up():
                    yield missed
            if _position(event_id) > _position(self.last):
                self.last = event_id
                yield event_id, raw

    def _is_gap(self, previous: tuple[int, int]) -> bool:
        """Whether events are missing before one of this predecessor."""
        last = _position(self.last)
        if last == (0, 0) and self._after is not None:
            return False  # the history was asked for from wherever it begins
        return previous != last

    async def _newest(self) -> str:
        page = await self._connections.commands.call(
            "XREVRANGE", self._keys.history, "+", "-", "COUNT", 1
        )
        return page[0][0].decode() if page else "0-0"

    async def catch_up(self) -> AsyncIterator[Raw | Resync]:
        """Yield what the history holds behind the last event; a `Resync` first if that is torn.

        Each entry names its predecessor, so one that does not name our last event tells that
        events between them were trimmed.
        """
        while True:
            page = await self._connections.commands.call(
                "XRANGE", self._keys.history, f"({self.last}", "+", "COUNT", _PAGE
            )
            for entry_id, fields in page:
                named = dict(zip(fields[::2], fields[1::2], strict=True))
                previous = _position(named.get(b"previous", b"0-0").decode())
                if self._is_gap(previous):
                    yield Resync(self._channel, self.last)
                self.last = entry_id.decode()
                if b"event" not in named:
                    logger.warning("channel %s: an entry is not castwork's", self._channel)
                    continue
                yield self.last, named[b"event"]
            if len(page) < _PAGE:
                return


def _parse_live(payload: bytes) -> tuple[str, str, bytes]:
    """Split a live message; raises ValueError for one that is not castwork's."""
    event_id, previous, event = payload.split(b" ", 2)
    ids = event_id.decode("ascii"), previous.decode("ascii")
    for one in ids:
        ms, _, sequence = one.partition("-")
        int(ms), int(sequence)
    return *ids, event


def _position(event_id: str) -> tuple[int, int]:
    ms, _, sequence = event_id.partition("-")
    if not ms.isdecimal() or not (sequence or "0").isdecimal():
        raise CastworkError(f"not an event id: {event_id!r}; it looks like 1764000000000-0")
    return int(ms), int(sequence or 0)
