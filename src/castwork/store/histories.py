"""Histories: the bounded log of a channel's events, and how events are appended to it.

A history is a stream. Each entry has the fields `uid` (drawn by the publisher), `event` (JSON),
`previous` (the id of the entry before) and, for an event with flags, `flags`. The message that
announces an entry is `ID PREVIOUS FLAGS JSON`, with one space between and `-` for no flags. The
flags are letters:

* `a`: the publisher asks who has applied the event.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from castwork.model.errors import (
    AuthenticationFailed,
    DefinitionError,
    EffectUnknown,
    QueueFull,
    ServerRefused,
    UndecodableEntry,
)
from castwork.model.ids import new_id
from castwork.model.position import START, Position
from castwork.redis.connections import Connections
from castwork.store.keys import ChannelKeys
from castwork.store.place import ChannelPlace
from castwork.store.scripts import PUBLISH
from castwork.store.tail import Item, StreamEntry, parse_entries

#: The flag of an event whose publisher asks who has applied it.
ASKS = "a"

_NO_FLAGS = "-"

#: How many times its length a history may grow while a group has not handled its events.
_HARD_BOUND = 10

#: Seconds within which an event whose reply was lost is sent again.
_PATIENCE = 15.0


class RawEvent(NamedTuple):
    """An event as a history holds it.

    Attributes:
        event: the event as JSON.
        flags: letters.
    """

    event: bytes
    flags: str = ""

    @property
    def asks(self) -> bool:
        """Whether the publisher asks who has applied it."""
        return ASKS in self.flags


class Histories:
    """The history of one channel or setting; also publishes for a channel without a history.

    Args:
        place: the channel.
    """

    def __init__(self, place: ChannelPlace) -> None:
        self.place = place

    @classmethod
    def of_channel(
        cls, connections: Connections, namespace: str, channel: str, *, keeps: bool = True
    ) -> Histories:
        """The history of a channel.

        Raises:
            DefinitionError: keys of that name are kept for something else.
        """
        if keeps and ChannelKeys.is_reserved(channel):
            raise DefinitionError(
                f"channel {channel!r}: with a history a name does not begin with setting:, lock:,"
                " output: or cache:, under which castwork keeps other things"
            )
        return cls(ChannelPlace(connections, channel, ChannelKeys.of(namespace, channel)))

    @classmethod
    def of_setting(cls, connections: Connections, namespace: str, setting: str) -> Histories:
        """The history of a setting: it holds the last value."""
        return cls(ChannelPlace(connections, setting, ChannelKeys.of_setting(namespace, setting)))

    @property
    def twin(self) -> Histories:
        """The same for the portal, where the twins ending in `_sync` run."""
        place = self.place
        return Histories(ChannelPlace(place.connections.twin, place.name, place.keys))

    @property
    def stream(self) -> str:
        """Key of the stream, which groups adopt."""
        return self.place.keys.history

    def source(self) -> HistorySource:
        """The history as something to follow."""
        return HistorySource(self)

    async def append(self, event: bytes, keep: int, *, asks: bool = True) -> str:
        """Append an event and announce it.

        When the reply is lost, the event is looked for among the last 1,000 before it is sent
        again, for 15 seconds: within these bounds it is appended once.

        Args:
            event: JSON.
            keep: events that the history holds. A fifth more may stay for a while, and so do
                all events that a group has yet to handle.
            asks: whether the publisher asks which processes have applied the event.

        Returns:
            The event's id.

        Raises:
            QueueFull: groups hold up more than ten times `keep`.
            EffectUnknown: no reply within 15 seconds; the event may be there.
            ConnectionFailed: no server in time; nothing was done.
        """
        place, uid, bound = self.place, new_id(), keep * _HARD_BOUND
        channel, flags = await self._channel(), ASKS if asks else _NO_FLAGS
        give_up = time.monotonic() + _PATIENCE
        again = 0
        while True:
            args = [channel, uid, event, keep, bound + 100, flags, again]
            try:
                reply = await place.run(PUBLISH, [place.keys.history], args)
            except EffectUnknown:
                if time.monotonic() > give_up:
                    raise
                again = 1
                await asyncio.sleep(0)
                continue
            if reply == b"full":
                raise QueueFull(place.name, bound)
            return bytes(reply).decode()

    async def _channel(self) -> str:
        """The Redis channel, whose name has the database's number: opens the connections first."""
        await self.place.link()
        return self.place.channel(self.place.keys.live)

    async def publish(self, event: bytes) -> int:
        """Publish on the plain Redis channel of exactly the channel's name; nothing is kept.

        Returns:
            The number of connections, of all programs, that the server sent the event to.

        Raises:
            EffectUnknown: the reply was lost; subscribers may have heard it.
            ConnectionFailed: no server in time; nothing was done.
        """
        reply = await self.place.call("PUBLISH", self.place.name, event, idempotent=False)
        return int(reply)

    async def outsiders(self) -> int:
        """How many clients listen to the Redis channel of the channel's bare name.

        They hear nothing that is published here: events of a history have a Redis channel of
        their own. A cluster's node knows its own clients only, and an ACL may hide all: then 0.

        Raises:
            ConnectionFailed: no server in time.
        """
        try:
            _, count = await self.place.call("PUBSUB", "NUMSUB", self.place.name)
        except (AuthenticationFailed, ServerRefused):
            return 0
        return int(count)

    async def newest(self) -> StreamEntry | None:
        """The last entry, None where there is none."""
        reply = await self.place.call("XREVRANGE", self.stream, "+", "-", "COUNT", 1)
        entries = parse_entries(reply)
        return entries[0] if entries else None

    async def page(self, after: Position, count: int) -> list[StreamEntry]:
        """The first entries behind a position, at most `count`."""
        reply = await self.place.call("XRANGE", self.stream, f"({after}", "+", "COUNT", count)
        return parse_entries(reply)


class HistorySource:
    """A history as a `Source`: trimmed events are no `Gap` for a reader of the whole history."""

    begins_anywhere = True
    keeps_announced = True

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self.place = histories.place
        self.name = f"channel {self.place.name}"

    @property
    def channel(self) -> str:
        """The Redis channel that announces the history's entries."""
        return self.place.channel(self.place.keys.live)

    def parse(self, payload: bytes) -> Item[RawEvent]:
        """Read `ID PREVIOUS FLAGS JSON`. Raises UndecodableEntry."""
        words = payload.split(b" ", 3)
        if len(words) < 4 or not (words[2] == b"-" or words[2].isalpha()):
            raise UndecodableEntry(f"not ID PREVIOUS FLAGS JSON: {payload[:100]!r}")
        flags = "" if words[2] == b"-" else words[2].decode()
        return Item(Position.parse(words[0]), Position.parse(words[1]), RawEvent(words[3], flags))

    def read(self, entry: StreamEntry) -> Item[RawEvent]:
        """Read an entry. Raises UndecodableEntry."""
        return read_event(entry)

    async def page(self, after: Position, count: int) -> list[StreamEntry]:
        """Ask for the first entries behind a position."""
        return await self._histories.page(after, count)

    async def newest(self) -> Position | None:
        """Ask for the position of the last entry."""
        entry = await self._histories.newest()
        return None if entry is None else entry.position


def read_event(entry: StreamEntry) -> Item[RawEvent]:
    """Read an entry of a history. An event that names no predecessor is taken for the first one.

    Raises:
        UndecodableEntry: the entry has no event, or its predecessor is no position.
    """
    named = dict(zip(entry.fields[::2], entry.fields[1::2], strict=True))
    event, previous = named.get(b"event"), named.get(b"previous")
    if event is None:
        raise UndecodableEntry("it has no field 'event'")
    return Item(
        entry.position,
        START if previous is None else Position.parse(previous),
        RawEvent(event, named.get(b"flags", b"").decode("ascii", "replace")),
    )
