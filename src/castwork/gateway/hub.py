"""Hub: many subscribers of one channel share one Redis subscription of this process."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.follower import HistoryFollower
from castwork.gateway.frames import FrameMaker
from castwork.gateway.subscriber import PATIENCE, Subscriber
from castwork.model.errors import CastworkError, ConnectionFailed, NotOpen, ServerError
from castwork.model.position import Position

logger = logging.getLogger(__name__)


class Feed:
    """Follows one channel, and hands its events to all subscribers."""

    def __init__(self, channel: Channel[Any]) -> None:
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._name = channel.name
        self._maker = FrameMaker(channel)
        self._subscribers: dict[Subscriber, None] = {}
        self._follower = channel.follower()
        self._pump = asyncio.create_task(self._run())

    def __len__(self) -> int:
        return len(self._subscribers)

    @property
    def is_over(self) -> bool:
        """Whether the feed has ended, or is ending."""
        return self._pump.done() or self._pump.cancelling() > 0

    def add(self, after: Position | None) -> Subscriber:
        """Make a subscriber; the feed hands it all events from the next one on."""
        subscriber = Subscriber(self._maker, after, self._remove)
        self._subscribers[subscriber] = None
        if self.started.done() and isinstance(self._follower, HistoryFollower):
            subscriber.begin(self._follower.last)
        return subscriber

    def _remove(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; with the last one the feed ends."""
        self._subscribers.pop(subscriber, None)
        if not self._subscribers:
            self._pump.cancel()

    async def _run(self) -> None:
        try:
            await self._start()
            while True:
                await self._hand_out()
        except CastworkError as error:
            logger.warning("channel %s: no more events: %s", self._name, error)
        finally:
            self._follower.close()
            for subscriber in self._subscribers:
                subscriber.end()

    async def _start(self) -> None:
        try:
            await self._follower.start()
        except Exception as error:
            self.started.set_exception(error)
            self.started.exception()  # marked as seen: perhaps nobody waits any more
            raise
        if isinstance(self._follower, HistoryFollower):
            for subscriber in self._subscribers:
                subscriber.begin(self._follower.last)
        self.started.set_result(None)

    async def _hand_out(self) -> None:
        """Hand out events until reading them fails; then wait a moment."""
        try:
            async for item in self._follower.events():
                frame = self._maker.make(item)
                if frame is not None:
                    for subscriber in self._subscribers:
                        subscriber.put(frame)
        except NotOpen:
            raise
        except ServerError as error:
            logger.warning("channel %s: catching up waits: %s", self._name, error)
        except Exception:
            logger.exception("channel %s: something that is no event was skipped", self._name)
        self._follower.look_again()
        await asyncio.sleep(PATIENCE)


class Hub:
    """The feeds of one gateway."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._feeds: dict[str, Feed] = {}

    def __len__(self) -> int:
        return sum(len(feed) for feed in self._feeds.values())

    async def join(self, channel: Channel[Any], after: str | None = None) -> Subscriber:
        """Subscribe; what is published after the return reaches the subscriber.

        Args:
            channel: the channel.
            after: id of the last event that the subscriber has, None to begin with the next event.

        Raises:
            ConnectionFailed: no server in time.
        """
        position = None if after is None else Position.parse_or_start(after)
        feed = self._feeds.get(channel.name)
        if feed is None or feed.is_over:
            feed = self._feeds[channel.name] = Feed(channel)
        subscriber = feed.add(position)
        patience = self._app.settings.link.call_timeout
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(feed.started)
        except TimeoutError:
            subscriber.leave()
            raise ConnectionFailed(
                f"channel {channel.name!r}: no server within {patience} s"
            ) from None
        except BaseException:
            subscriber.leave()
            raise
        return subscriber
