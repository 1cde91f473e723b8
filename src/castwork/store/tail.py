"""Tail: follows a stream in Redis from any position, and tells each gap.

A stream is bounded and can be read again. The Redis channel beside the stream announces each entry
at once, and keeps none. A tail takes the announced entries, and reads the stream when some are
missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from castwork.model.errors import ConnectionFailed, UndecodableEntry
from castwork.model.position import START, Position
from castwork.redis.inbox import Inbox
from castwork.store.place import Place

logger = logging.getLogger(__name__)

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

#: Bytes of announced entries held for a slow reader. When there are more, the stream is read.
_HELD_BYTES = 4_000_000

#: Entries that one call reads: at first, and at most.
_FIRST_PAGE, _PAGE = 20, 500

#: Bytes that one call should bring: the next call's number of entries is chosen by them. A reader
#: that takes its time holds a page, and a gateway has many readers.
_PAGE_BYTES = 256_000

#: Seconds between tries to read the stream while the server is away.
_PATIENCE = 0.2


class StreamEntry(NamedTuple):
    """An entry as the stream holds it: field names and values in turn."""

    position: Position
    fields: list[bytes]


class Item(NamedTuple, Generic[V_co]):
    """An entry as a reader gets it.

    Attributes:
        position: the entry's position.
        previous: the position of the entry before; None where any entry may come before.
        value: the entry's value.
    """

    position: Position
    previous: Position | None
    value: V_co


class Gap(NamedTuple):
    """Entries between two positions are missing, and cannot be had any more.

    Attributes:
        after: the last position that the reader had.
        before: the first position that is there again.
    """

    after: Position
    before: Position


class Source(Protocol[V_co]):
    """A stream to follow, and the Redis channel that announces its entries."""

    @property
    def name(self) -> str:
        """The stream's name, for log lines."""

    @property
    def place(self) -> Place:
        """The place of the stream's key."""

    @property
    def channel(self) -> str:
        """The Redis channel."""

    @property
    def begins_anywhere(self) -> bool:
        """Whether a reader from `START` gets the oldest entry without a `Gap` before it."""

    @property
    def keeps_announced(self) -> bool:
        """Whether an announced entry is in the stream, unless it was trimmed since."""

    def parse(self, payload: bytes) -> Item[V_co]:
        """Read the message that announces an entry. Raises UndecodableEntry for other messages."""

    def read(self, entry: StreamEntry) -> Item[V_co]:
        """Read an entry. Raises UndecodableEntry for a foreign one."""

    async def page(self, after: Position, count: int) -> list[StreamEntry]:
        """Ask for the first `count` entries behind a position; fewer when there are no more."""

    async def newest(self) -> Position | None:
        """Ask for the position of the last entry."""


class Tail(Generic[V]):
    """Yields each item once and in order, and a `Gap` where the stream no longer has some.

    Each announced entry names its predecessor. When that predecessor is not the last item, the
    stream is read. The stream is also read after the connection was away, and when more entries
    were announced than a slow reader took. Entries that do not decode are skipped, and logged, and
    so are announced entries that the stream does not have. A position above the stream's end, as
    when the server was flushed or the id came from elsewhere, is a `Gap`, behind which the reader
    goes on with what is there.

    For one reader, which may stop in the middle and go on later without losing an item.

    Args:
        source: the stream.
        after: position of the last item that the reader has, `START` for the whole stream; None
            to begin with the next entry.

    Attributes:
        last: position of the last item that the reader was given, or of the end of the last gap.
    """

    def __init__(self, source: Source[V], *, after: Position | None = None) -> None:
        self.last = START if after is None else after
        self._source = source
        self._from_newest = after is None
        self._begins_anywhere = after is not None and source.begins_anywhere
        self._behind = after is not None
        self._page_size = _FIRST_PAGE
        # Up to here the stream has been seen: entries announced before that are doubles.
        self._seen = START
        self._live: deque[bytes] = deque()
        self._inbox = Inbox(max_bytes=_HELD_BYTES)
        self._is_closed = False

    async def start(self) -> None:
        """Listen; entries that are announced after the return are heard.

        Raises:
            ConnectionFailed: no server in time.
            ServerRefused: the server refuses the subscription, or the read.
        """
        try:
            # Opens the connections: the channel's name has the database's number.
            await self._source.place.link()
            await self._source.place.listen(self._source.channel, self._inbox)
            if self._from_newest:
                self.last = self._seen = await self._source.newest() or START
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening; `items` ends."""
        self._is_closed = True
        self._inbox.close()
        self._source.place.unlisten(self._source.channel, self._inbox)

    def look_again(self) -> None:
        """Read the stream before the next item is yielded."""
        self._inbox.on_resumed()

    def wake(self) -> None:
        """End the present `wait`, for a reader that waits for something else as well."""
        self._inbox.on_message(b"")

    async def items(self) -> AsyncIterator[Item[V] | Gap]:
        """Yield items and gaps until the tail is closed; while the server is away, wait.

        Raises:
            NotOpen: the connections were closed.
            ServerRefused: the stream cannot be read.
        """
        while await self.wait():
            try:
                async for item in self.ready():
                    yield item
            except ConnectionFailed as error:
                logger.warning("%s: catching up waits: %s", self._source.name, error)
                await asyncio.sleep(_PATIENCE)

    async def wait(self) -> bool:
        """Wait until `ready` may have items; return False once the tail is closed."""
        if not (self._behind or self._live):
            await self._inbox.wait()
        return not self._is_closed

    def take_next(self) -> list[Item[V]]:
        """Take the announced items that follow on the last one, without reading the stream.

        The quick way of a reader that uses up the whole list; the rest is for `ready`.
        """
        if self.needs_reading:
            return []
        announced = self._inbox.take()
        items = []
        for number, payload in enumerate(announced):
            item = self._parse(payload)
            if item is None or item.position <= min(self.last, self._seen):
                continue
            if (
                item.position <= self.last
                or item.previous != self.last
                and not self._follows(item.previous)
            ):
                self._live.extend(announced[number:])
                break
            self.last = item.position
            items.append(item)
        return items

    @property
    def needs_reading(self) -> bool:
        """Whether something is missing, so that `ready` must be asked."""
        return self._behind or self._inbox.has_gap or bool(self._live)

    async def ready(self) -> AsyncIterator[Item[V] | Gap]:
        """Yield the items that have come, and the gaps, without waiting for more items.

        Raises as `items`, and ConnectionFailed; the next call then goes on behind `last`.
        """
        if self._inbox.take_gap():
            self._behind = True
        self._live.extend(self._inbox.take())
        if self._behind:
            async for missed in self.catch_up():
                yield missed
        while self._live:
            item = self._parse(self._live[0])
            if item is not None and await self._is_lost(item):
                gap, self.last = Gap(self.last, item.position), item.previous or START
                yield gap
            if item is not None and self._is_new(item) and not self._follows(item.previous):
                # Behind until the stream has been read: the reader may stop, or the reading fail.
                self._behind = True
                async for missed in self.catch_up():
                    yield missed
                if self._is_new(item) and self._source.keeps_announced:
                    logger.warning("%s: %s is not there", self._source.name, item.position)
                    item = None
            if item is not None and self._is_new(item):
                if not self._follows(item.previous):
                    yield self._pass_gap(item.position, item.previous)
                self.last = item.position
                self._live.popleft()
                yield item
            else:
                self._live.popleft()

    async def catch_up(self) -> AsyncIterator[Item[V] | Gap]:
        """Yield what the stream holds behind the last item, and read page by page as it is taken.

        Works without `start`, too. Raises as `ready`.
        """
        while True:
            count = self._page_size
            entries = await self._read_page(count)
            for entry in entries:
                item = self._read(entry)
                # The predecessor of an undecodable entry is unknown; with the entry itself in its
                # place, the gap covers the entry.
                previous = entry.position if item is None else item.previous
                if not self._follows(previous):
                    yield self._pass_gap(entry.position, previous)
                self.last = self._seen = entry.position
                if item is not None:
                    yield item
            if len(entries) < count:
                if self._seen < self.last and self._source.keeps_announced:
                    newest = await self._source.newest() or START
                    if newest < self.last:
                        gap, self.last = Gap(self.last, newest), newest
                        yield gap
                    self._seen = self.last
                self._behind = False
                return

    async def _read_page(self, count: int) -> list[StreamEntry]:
        # A reader that is left over must not open the connections again after they were closed.
        self._source.place.check_open()
        entries = await self._source.page(self.last, count)
        if entries:
            size = sum(len(field) for entry in entries for field in entry.fields)
            self._page_size = max(1, min(_PAGE, _PAGE_BYTES * len(entries) // max(size, 1)))
        return entries

    def _is_new(self, item: Item[V]) -> bool:
        """Whether the reader has not had the item: its position is behind the reader's."""
        return item.position > self.last

    async def _is_lost(self, item: Item[V]) -> bool:
        """Whether the reader's position is one that the stream has not reached.

        An item that was neither seen nor comes behind the reader's position tells so.
        """
        if not self._seen < item.position <= self.last:
            return False
        newest = await self._source.newest()
        return newest is not None and newest < self.last

    def _follows(self, previous: Position | None) -> bool:
        """Whether an item with this predecessor comes next."""
        if previous is None or previous == self.last:
            return True
        return self._begins_anywhere and self.last == START

    def _pass_gap(self, before: Position, previous: Position | None) -> Gap:
        """Go on behind the missing items, so that a reader which stops now is told once."""
        gap = Gap(self.last, before)
        self.last = max(self.last, previous or START)
        return gap

    def _parse(self, payload: bytes) -> Item[V] | None:
        if not payload:
            return None  # the message of `wake`
        try:
            return self._source.parse(payload)
        except UndecodableEntry as error:
            logger.warning("%s: a message was skipped: %s", self._source.name, error)
            return None

    def _read(self, entry: StreamEntry) -> Item[V] | None:
        try:
            return self._source.read(entry)
        except UndecodableEntry as error:
            logger.warning("%s: entry %s was skipped: %s", self._source.name, entry.position, error)
            return None


def parse_entries(reply: list[list[object]]) -> list[StreamEntry]:
    """Read the reply to XRANGE or XREVRANGE."""
    return [StreamEntry(Position.parse(name), fields) for name, fields in reply]  # type: ignore[arg-type]
