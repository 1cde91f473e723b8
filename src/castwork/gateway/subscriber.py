"""Subscriber: a bounded queue of one client's frames; a slow client reads from the history."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable

from castwork.gateway.frames import Frame, FrameMaker
from castwork.model.errors import NotOpen, ServerError
from castwork.model.position import Position

logger = logging.getLogger(__name__)

#: Bytes held for a slow subscriber. When there are more, the queue is dropped.
HELD_BYTES = 4_000_000

#: Bytes that a frame counts beside its event's.
_OVERHEAD = 100

#: Seconds between tries to read while the server is away.
PATIENCE = 0.5

#: Events, and bytes of them, handed on at once while catching up.
_BATCH = 100
_BATCH_BYTES = 256_000


class Subscriber:
    """One client's subscription to a channel, fed by `put`.

    When the client is too slow, the queue is dropped. On a channel with history the subscriber then
    reads the missed events there; on a channel without history the client gets a resync frame.

    Args:
        maker: makes frames of the channel.
        after: position of the last event that the client has, None to begin with the next event.
        leave: called when the client wants no more frames.
    """

    def __init__(
        self, maker: FrameMaker, after: Position | None, leave: Callable[[Subscriber], None]
    ) -> None:
        self._maker = maker
        self._on_leave = leave
        self._last = after
        self._behind = after is not None and maker.has_history
        self._queue: deque[Frame] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._ended = False
        if after is not None and not maker.has_history:
            self.put(maker.resync())  # events after that id are not kept anywhere

    @property
    def position(self) -> str:
        """Id of the last event that the client has or begins behind; empty without a history."""
        return "" if self._last is None or not self._maker.has_history else str(self._last)

    def begin(self, last: Position) -> None:
        """Take the position of the last event before the first frame that is put."""
        if self._last is None:
            self._last = last

    def put(self, frame: Frame) -> None:
        """Take a frame; returns at once."""
        size = frame.size + _OVERHEAD
        if self._queue and self._bytes + size > HELD_BYTES:
            self._drop()
        self._queue.append(frame)
        self._bytes += size
        self._news.set()

    def _drop(self) -> None:
        count = len(self._queue)
        self._queue.clear()
        self._bytes = 0
        if self._maker.has_history:
            self._behind = True
        else:
            logger.warning(
                "channel %s: %d events for a slow client dropped", self._maker.name, count
            )
            self._queue.append(self._maker.resync())

    def end(self) -> None:
        """End `batches`, as there will be no more frames."""
        self._ended = True
        self._news.set()

    def leave(self) -> None:
        """Leave the feed, as the client wants no more frames."""
        self._on_leave(self)

    async def batches(self) -> AsyncGenerator[list[Frame], None]:
        """Yield frames in order, each once; frames that are ready together come in one list."""
        while not self._ended:
            if self._behind:
                self._behind = False
                async for batch in self._catch_up():
                    yield batch
            if batch := self._take():
                yield batch
            elif not self._behind:
                await self._news.wait()
                self._news.clear()

    def _take(self) -> list[Frame]:
        if self._behind:
            return []  # the events in the history come first
        batch = [frame for frame in self._queue if self._is_new(frame)]
        self._queue.clear()
        self._bytes = 0
        return batch

    def _is_new(self, frame: Frame) -> bool:
        """Whether the client has not had the frame; notes it as had."""
        if frame.position is None:
            if frame.event is None:
                self._last = None  # a resync: the positions before it may be of another history
            return True
        if self._last is not None and frame.position <= self._last:
            return False
        self._last = frame.position
        return True

    async def _catch_up(self) -> AsyncGenerator[list[Frame], None]:
        """Yield what the history holds behind the last event."""
        reader = self._maker.reader(self._last)
        batch: list[Frame] = []
        size = 0
        try:
            async for item in reader.catch_up():
                frame = self._maker.make(item)
                if frame is not None and self._is_new(frame):
                    batch.append(frame)
                    size += frame.size
                if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
        except NotOpen:
            self.end()
        except ServerError as error:
            logger.warning("channel %s: a subscriber waits: %s", self._maker.name, error)
            self._behind = True
        if batch:
            yield batch
        if self._behind:
            await asyncio.sleep(PATIENCE)
