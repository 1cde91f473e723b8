"""Tail: follows a stream in Redis from any position, without gaps that it does not tell.

A stream is bounded and can be read again; the Redis channel beside it announces each entry at once
and forgets it. A tail takes what is announced, and reads the stream when something is missing.
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

#: Announced entries held for a slow reader. Beyond them the stream is read.
_HELD = 2000

#: Entries that one call reads: at first, and at most.
_FIRST_PAGE, _PAGE = 100, 500

#: Bytes that one call should bring; the number of entries is chosen for it.
_PAGE_BYTES = 2_000_000

#: Seconds between tries to read the stream while the server is away.
_PATIENCE = 0.2


class Entry(NamedTuple):
    """An entry as the stream holds it: field names and values in turn."""

    position: Position
    fields: list[bytes]


class Item(NamedTuple, Generic[V_co]):
    """What a reader gets of an entry.

    Attributes:
        position: where the entry is.
        previous: the entry before it, None where it follows on whatever came before.
        value: what it holds.
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
        """What it is, for log lines."""

    @property
    def place(self) -> Place:
        """Where it is."""

    @property
    def channel(self) -> str:
        """The Redis channel."""

    @property
    def begins_anywhere(self) -> bool:
        """Whether a reader that asks for everything takes the oldest entry without a `Gap`."""

    def parse(self, payload: bytes) -> Item[V_co]:
        """Read what announces an entry. Raises UndecodableEntry for anything else."""

    def read(self, entry: Entry) -> Item[V_co]:
        """Read an entry. Raises UndecodableEntry for a foreign one."""

    async def page(self, after: Position, count: int) -> list[Entry]:
        """Ask for the first entries behind a position; fewer than `count` are the last ones."""

    async def newest(self) -> Position | None:
        """Ask for the position of the last entry."""


class Tail(Generic[V]):
    """Yields each item once and in order, and a `Gap` where the stream no longer has some.

    Each announced entry names its predecessor. When that is not the last item, the stream is
    read; so it is after the connection was away, and when more was announced than a slow reader
    took. What cannot be decoded is skipped with a line in the log.

    For one reader. It may stop in the middle and go on: nothing is lost between.

    Args:
        source: the stream.
        after: position of the last item that the reader has, `START` for all that is there; None
            to begin with the next one.

    Attributes:
        last: position of the last item that the reader was given, or was told to be missing.
    """

    def __init__(self, source: Source[V], *, after: Position | None = None) -> None:
        self.last = START if after is None else after
        self._source = source
        self._from_newest = after is None
        self._begins_anywhere = after is not None and source.begins_anywhere
        self._behind = after is not None
        self._page_size = _FIRST_PAGE
        self._live: deque[bytes] = deque()
        self._inbox = Inbox(max_items=_HELD)
        self._is_closed = False

    async def start(self) -> None:
        """Listen; what is announced after the return is heard.

        Raises:
            ConnectionFailed: no server in time.
            ServerRefused: the server does not let us.
        """
        try:
            await self._source.place.link()  # opened first: the channel's name has the database
            await self._source.place.listen(self._source.channel, self._inbox)
            if self._from_newest:
                self.last = await self._source.newest() or START
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Listen no more; `items` ends."""
        self._is_closed = True
        self._inbox.close()
        self._source.place.unlisten(self._source.channel, self._inbox)

    def look_again(self) -> None:
        """Have the stream read before anything else that is announced."""
        self._inbox.on_resumed()

    def wake(self) -> None:
        """End the present `wait`, for a reader that waits for something else as well."""
        self._inbox.on_message(b"")

    async def items(self) -> AsyncIterator[Item[V] | Gap]:
        """Yield items until the tail is closed; while the server is away, wait.

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
        """Wait until `ready` may have something; False once the tail is closed."""
        if not (self._behind or self._live):
            await self._inbox.wait()
        return not self._is_closed

    async def ready(self) -> AsyncIterator[Item[V] | Gap]:
        """Yield what has come and what is found to be missing, without waiting for more.

        Raises as `items`, and ConnectionFailed: then the next call goes on from there.
        """
        if self._inbox.take_gap():
            self._behind = True
        self._live.extend(self._inbox.take())
        if self._behind:
            async for missed in self.catch_up():
                yield missed
        while self._live:
            item = self._parse(self._live[0])
            if item is not None and self._is_new(item) and not self._follows(item.previous):
                self._behind = True  # until it is read: the reader may stop, or reading fail
                async for missed in self.catch_up():
                    yield missed
            if item is not None and self._is_new(item):
                if not self._follows(item.previous):
                    yield self._pass_gap(item.position, item.previous)
                self.last = item.position
                self._live.popleft()
                yield item
            else:
                self._live.popleft()

    async def catch_up(self) -> AsyncIterator[Item[V] | Gap]:
        """Yield what the stream holds behind the last item, page by page as it is taken.

        It works without `start`, too. Raises as `ready`.
        """
        while True:
            count = self._page_size
            entries = await self._read_page(count)
            for entry in entries:
                item = self._read(entry)
                # Of an entry that cannot be read nobody knows what it followed on: it names itself.
                previous = entry.position if item is None else item.previous
                if not self._follows(previous):
                    yield self._pass_gap(entry.position, previous)
                self.last = entry.position
                if item is not None:
                    yield item
            if len(entries) < count:
                self._behind = False
                return

    async def _read_page(self, count: int) -> list[Entry]:
        self._source.place.check_open()  # else they were opened again for a reader left behind
        entries = await self._source.page(self.last, count)
        if entries:
            size = sum(len(field) for entry in entries for field in entry.fields)
            self._page_size = max(1, min(_PAGE, _PAGE_BYTES * len(entries) // max(size, 1)))
        return entries

    def _is_new(self, item: Item[V]) -> bool:
        """Whether the reader has not had the item.

        Ids below a reader's position are taken for known ones. A server that was flushed may
        give them out anew: such a reader hears nothing until they have passed its position.
        """
        return item.position > self.last

    def _follows(self, previous: Position | None) -> bool:
        """Whether what names this predecessor comes next."""
        if previous is None or previous == self.last:
            return True
        return self._begins_anywhere and self.last == START

    def _pass_gap(self, before: Position, previous: Position | None) -> Gap:
        """Go on behind what is missing: a reader that stops here is not told again."""
        gap = Gap(self.last, before)
        self.last = max(self.last, previous or START)
        return gap

    def _parse(self, payload: bytes) -> Item[V] | None:
        if not payload:
            return None  # of `wake`
        try:
            return self._source.parse(payload)
        except UndecodableEntry as error:
            logger.warning("%s: a message was skipped: %s", self._source.name, error)
            return None

    def _read(self, entry: Entry) -> Item[V] | None:
        try:
            return self._source.read(entry)
        except UndecodableEntry as error:
            logger.warning("%s: entry %s was skipped: %s", self._source.name, entry.position, error)
            return None


def parse_entries(reply: list[list[object]]) -> list[Entry]:
    """Read the reply to XRANGE or XREVRANGE."""
    return [Entry(Position.parse(name), fields) for name, fields in reply]  # type: ignore[arg-type]
