"""Follower: one channel's events for one reader, in order, with a notice for each gap."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

from castwork.channels.event import Resync
from castwork.model.position import Position
from castwork.redis.inbox import Inbox
from castwork.store.histories import Histories, RawEvent
from castwork.store.place import ChannelPlace
from castwork.store.tail import Gap, Item, Tail

logger = logging.getLogger(__name__)

#: Bytes of events held for a slow reader of a channel without history. When there are more, the
#: older ones are lost.
_HELD_BYTES = 16_000_000


class Heard(NamedTuple):
    """An event that has come.

    Attributes:
        id: position in the history, empty on a channel without history.
        event: the event as JSON, unchecked.
        asks: whether the publisher asks who has applied it.
    """

    id: str
    event: bytes
    asks: bool = False


class PlainFollower:
    """Follows a plain Redis channel of exactly the channel's name.

    Nothing is kept by the server: after a reconnect, or when the reader is too slow, a `Resync`
    says that events may be missing. The `Resync` comes behind all events that were heard before
    it, so that the state which the reader then reads is newer than those events.
    """

    def __init__(self, place: ChannelPlace) -> None:
        self._place = place
        self._inbox = Inbox(max_bytes=_HELD_BYTES)
        self._heard: deque[Heard | Resync] = deque()
        self._dropped = 0

    async def start(self) -> None:
        """Subscribe; what is published after the return is heard.

        Raises:
            ConnectionFailed: no server in time.
        """
        await self._place.listen(self._place.name, self._inbox)

    def close(self) -> None:
        """End the subscription; `events` ends."""
        self._inbox.close()
        self._place.unlisten(self._place.name, self._inbox)

    def look_again(self) -> None:
        """Tell the reader that events may be missing."""
        self._inbox.on_resumed()

    async def events(self) -> AsyncIterator[Heard | Resync]:
        """Yield events until the follower is closed."""
        while self._heard or await self._inbox.wait():
            is_torn = self._inbox.take_gap()
            self._tell_dropped()
            self._heard.extend(Heard("", payload) for payload in self._inbox.take())
            if is_torn:
                self._heard.append(Resync(self._place.name))
            while self._heard:
                yield self._heard.popleft()

    def _tell_dropped(self) -> None:
        count = self._inbox.dropped - self._dropped
        if count:
            self._dropped += count
            logger.warning(
                "channel %s: %d events were dropped, as their reader is too slow",
                self._place.name,
                count,
            )


class HistoryFollower:
    """Follows a channel with a history: every event comes once and in order.

    Where the history is too short for what was missed, a `Resync` comes first.

    Args:
        after: position of the last event that the reader has, `START` for the whole history;
            None to begin with the next event.
    """

    def __init__(self, histories: Histories, *, after: Position | None = None) -> None:
        self._name = histories.place.name
        self._tail: Tail[RawEvent] = Tail(histories.source(), after=after)

    @property
    def last(self) -> Position:
        """Position of the last event that the reader was given, or begins behind."""
        return self._tail.last

    async def start(self) -> None:
        """Subscribe; what is published after the return is heard.

        Raises:
            ConnectionFailed: no server in time.
        """
        await self._tail.start()

    def close(self) -> None:
        """End the subscription; `events` ends."""
        self._tail.close()

    def look_again(self) -> None:
        """Read the history for missed events before anything else is yielded."""
        self._tail.look_again()

    async def events(self) -> AsyncIterator[Heard | Resync]:
        """Yield events until the follower is closed; while the server is away, wait.

        Raises:
            NotOpen: the app was closed.
            ServerRefused: the history cannot be read.
        """
        async for item in self._tail.items():
            yield self._heard(item)

    async def catch_up(self) -> AsyncIterator[Heard | Resync]:
        """Yield what the history holds behind the last event; works without `start`, too.

        Raises as `events`, and ConnectionFailed.
        """
        async for item in self._tail.catch_up():
            yield self._heard(item)

    def _heard(self, item: Item[RawEvent] | Gap) -> Heard | Resync:
        if isinstance(item, Gap):
            return Resync(self._name, str(item.after))
        return Heard(str(item.position), item.value.event, item.value.asks)
