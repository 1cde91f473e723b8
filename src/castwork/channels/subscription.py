"""Subscription: runs the handlers of one channel in this process."""

from __future__ import annotations

import asyncio
import logging
import typing
from typing import Any, Generic, TypeVar

from castwork.channels.event import EventCodec, Resync
from castwork.channels.follower import HistoryFollower, PlainFollower
from castwork.channels.handlers import Handler, call_handler
from castwork.channels.members import Membership
from castwork.model.errors import InvalidArguments, NotOpen
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys

logger = logging.getLogger(__name__)

E = TypeVar("E")


class Subscription(Generic[E]):
    """Hands every event of a channel to the handlers, one event at a time and in order.

    A handler that raises does not stop the others, nor the next event; its error is logged
    and told in receipts. A handler whose annotation allows `Resync` gets one when events are
    missing for good.
    """

    def __init__(
        self,
        connections: Connections,
        channel: str,
        keys: ChannelKeys | None,
        codec: EventCodec[E],
        handlers: list[Handler],
        *,
        after: str | None = None,
    ) -> None:
        self._connections = connections
        self._channel = channel
        self._keys = keys
        self._codec = codec
        self._handlers = handlers
        self._after = after
        self._resync = {handler for handler in handlers if _takes_resync(handler)}
        self._membership: Membership | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._follower: PlainFollower | HistoryFollower | None = None

    async def start(self) -> None:
        """Subscribe; what is published after the return reaches the handlers."""
        follower: PlainFollower | HistoryFollower
        if self._keys is None:
            follower = PlainFollower(self._connections, self._channel)
            await follower.start()
        else:
            follower = HistoryFollower(
                self._connections, self._channel, self._keys, after=self._after
            )
            await follower.start()
            membership = Membership(self._connections, self._keys, at=follower.last)
            self._membership = membership
            await membership.join()
            self._tasks.append(asyncio.create_task(membership.run()))
        self._follower = follower
        self._tasks.append(asyncio.create_task(self._run(follower)))

    async def stop(self) -> None:
        """End the subscription; a handler that runs is cancelled."""
        if self._follower is not None:
            self._follower.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._membership is not None:
            await self._membership.leave()

    async def _run(self, follower: PlainFollower | HistoryFollower) -> None:
        while True:
            try:
                async for item in follower.events():
                    if isinstance(item, Resync):
                        await self._tell_resync(item)
                    else:
                        await self.handle(*item)
            except NotOpen:
                return
            except Exception:  # handlers must not go deaf, whatever it is
                logger.exception("channel %s: following it failed, going on", self._channel)
                follower.on_resumed()
                await asyncio.sleep(1.0)

    async def handle(self, event_id: str, raw: bytes) -> None:
        """Hand one event to every handler."""
        error = ""
        try:
            event = self._codec.decode(raw)
        except InvalidArguments as invalid:
            logger.error("channel %s: an event was skipped: %s", self._channel, invalid)
            error = str(invalid)
        else:
            for handler in self._handlers:
                error = await self._call(handler, event) or error
        if self._membership is not None:
            self._membership.handled(event_id, error)

    async def _tell_resync(self, resync: Resync) -> None:
        if not self._resync:
            logger.warning("channel %s: events were missed", self._channel)
        for handler in self._handlers:
            if handler in self._resync:
                await self._call(handler, resync)

    async def _call(self, handler: Handler, event: Any) -> str:
        """Call one handler; return its error as text, empty if there was none."""
        try:
            await call_handler(handler, event)
        except Exception as error:
            logger.exception("channel %s: handler %r failed", self._channel, handler)
            return f"{type(error).__name__}: {error}"[:500]
        return ""


def _takes_resync(handler: Handler) -> bool:
    """Whether the annotation of the handler's parameter allows `Resync`."""
    try:
        hints = typing.get_type_hints(handler)
    except NameError:
        return False
    hints.pop("return", None)
    first = next(iter(hints.values()), None)
    return first is Resync or Resync in typing.get_args(first)
