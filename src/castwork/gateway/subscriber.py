"""One subscriber of a channel: a bounded queue, and the way back for a slow reader."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable

from castwork.gateway.frames import Frame, FrameMaker
from castwork.model.errors import NotOpen, ServerError
from castwork.model.position import Position

logger = logging.getLogger(__name__)

#: Events, and bytes, held for a slow subscriber. Beyond them its queue is dropped.
HELD = 500
HELD_BYTES = 4_000_000

#: Seconds between looks whether a server that is away is back.
PATIENCE = 0.5

#: Events handed on at once while catching up.
_BATCH = 100


class Subscriber:
    """One client's subscription to a channel, fed by `put`.

    When it is too slow, its queue is dropped. On a channel with history it then reads what it
    missed from there; on one without, a resync frame tells it.

    Args:
        maker: makes frames of the channel.
        after: position of the last event that it has, None to begin with the next event.
        leave: called when it wants no more.
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
            self.put(maker.resync())  # nobody knows what it missed

    def begin(self, last: Position) -> None:
        """Know the last event before the first one that is put."""
        if self._last is None:
            self._last = last

    def put(self, frame: Frame) -> None:
        """Take a frame; returns at once."""
        full = len(self._queue) >= HELD or self._bytes + frame.size > HELD_BYTES
        if full and self._queue:
            self._drop()
        self._queue.append(frame)
        self._bytes += frame.size
        self._news.set()

    def _drop(self) -> None:
        self._queue.clear()
        self._bytes = 0
        if self._maker.has_history:
            self._behind = True
        else:
            self._queue.append(self._maker.resync())

    def end(self) -> None:
        """There will be no more frames."""
        self._ended = True
        self._news.set()

    def leave(self) -> None:
        """Want no more frames."""
        self._on_leave(self)

    async def batches(self) -> AsyncGenerator[list[Frame], None]:
        """Yield frames as they come, in order and each once, those that are ready together."""
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
            return []  # the history comes first
        batch = [frame for frame in self._queue if self._is_new(frame)]
        self._queue.clear()
        self._bytes = 0
        return batch

    def _is_new(self, frame: Frame) -> bool:
        """Whether the subscriber has not had the frame; from now on it has."""
        if frame.position is None:
            return True
        if self._last is not None and frame.position <= self._last:
            return False
        self._last = frame.position
        return True

    async def _catch_up(self) -> AsyncGenerator[list[Frame], None]:
        """Yield what the history holds behind the last event."""
        reader = self._maker.reader(self._last)
        batch: list[Frame] = []
        try:
            async for item in reader.catch_up():
                frame = self._maker.make(item)
                if frame is not None and self._is_new(frame):
                    batch.append(frame)
                if len(batch) >= _BATCH:
                    yield batch
                    batch = []
        except NotOpen:
            self.end()
        except ServerError as error:
            logger.warning("channel %s: a subscriber waits: %s", self._maker.name, error)
            self._behind = True
        if batch:
            yield batch
        if self._behind:
            await asyncio.sleep(PATIENCE)
