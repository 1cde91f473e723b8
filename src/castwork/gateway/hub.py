"""Hub: many clients of one channel share one subscription in this process."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.follower import HistoryFollower
from castwork.gateway.client import PATIENCE, Client
from castwork.gateway.frames import FrameMaker
from castwork.model.errors import CastworkError, ConnectionFailed, NotOpen, ServerRefused

logger = logging.getLogger(__name__)


class Feed:
    """The events of one channel, handed to every client of it."""

    def __init__(self, channel: Channel[Any]) -> None:
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._name = channel.name
        self._maker = FrameMaker(channel)
        self._clients: dict[Client, None] = {}
        self._follower = channel.follower()
        self._pump = asyncio.create_task(self._run())

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def is_over(self) -> bool:
        """Whether it hands out nothing any more."""
        return self._pump.done() or self._pump.cancelling() > 0

    def add(self, after: str | None) -> Client:
        """Make a client, which gets the events from the next one on."""
        client = Client(self._maker, after, self._remove)
        self._clients[client] = None
        if self.started.done() and isinstance(self._follower, HistoryFollower):
            client.begin(self._follower.last)
        return client

    def _remove(self, client: Client) -> None:
        """Forget a client; the last one ends the subscription."""
        self._clients.pop(client, None)
        if not self._clients:
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
            for client in self._clients:
                client.end()

    async def _start(self) -> None:
        try:
            await self._follower.start()
        except Exception as error:
            self.started.set_exception(error)
            self.started.exception()  # seen, should everyone who waits for it be gone
            raise
        if isinstance(self._follower, HistoryFollower):
            for client in self._clients:
                client.begin(self._follower.last)
        self.started.set_result(None)

    async def _hand_out(self) -> None:
        """Hand out events until reading them fails; then wait a moment."""
        try:
            async for item in self._follower.events():
                frame = self._maker.make(item)
                if frame is not None:
                    for client in self._clients:
                        client.put(frame)
        except NotOpen:
            raise
        except (ConnectionFailed, ServerRefused) as error:
            logger.warning("channel %s: catching up waits: %s", self._name, error)
        except Exception:
            logger.exception("channel %s: something that is no event was skipped", self._name)
        self._follower.on_resumed()
        await asyncio.sleep(PATIENCE)


class Hub:
    """The feeds of one gateway."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._feeds: dict[str, Feed] = {}

    def __len__(self) -> int:
        return sum(len(feed) for feed in self._feeds.values())

    async def join(self, channel: Channel[Any], after: str | None = None) -> Client:
        """Subscribe a client; what is published after the return reaches it.

        Args:
            after: id of the last event that it has, None to begin with the next one.

        Raises:
            ConnectionFailed: no server in time.
        """
        if not self._app.connections.is_open:
            await self._app.connections.open()
        feed = self._feeds.get(channel.name)
        if feed is None or feed.is_over:
            feed = self._feeds[channel.name] = Feed(channel)
        client = feed.add(after)
        patience = self._app.settings.link.call_timeout
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(feed.started)
        except TimeoutError:
            client.leave()
            raise ConnectionFailed(
                f"channel {channel.name!r}: no server within {patience} s"
            ) from None
        except BaseException:
            client.leave()
            raise
        return client
