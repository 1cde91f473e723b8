"""Subscription: runs the handlers of one channel in this process."""

from __future__ import annotations

import asyncio
import inspect
import logging
import typing
from typing import Any, Generic, TypeVar

from castwork.channels.event import EventCodec, Resync
from castwork.channels.follower import Heard, HistoryFollower, PlainFollower
from castwork.channels.membership import Membership
from castwork.model.errors import NotOpen, ServerError
from castwork.model.safe_text import text_of
from castwork.redis.handlers import Handler, call_handler
from castwork.store.members import Members

logger = logging.getLogger(__name__)

E = TypeVar("E")


class Subscription(Generic[E]):
    """Hands every event of a channel to the handlers, one event at a time and in order.

    A handler that raises stops neither the other handlers nor the next event; its error is logged
    and told in receipts. A handler whose annotation allows `Resync` gets a `Resync` when events
    are missing for good.

    Args:
        channel: the channel's name.
        codec: decodes the events.
        handlers: the functions.
        follower: reads the channel; not started yet.
        members: where this process tells how far it has come; None without a history.
    """

    def __init__(
        self,
        channel: str,
        codec: EventCodec[E],
        handlers: list[Handler],
        follower: PlainFollower | HistoryFollower,
        members: Members | None = None,
    ) -> None:
        self._channel = channel
        self._codec = codec
        self._handlers = handlers
        self._follower = follower
        self._members = members
        self._resync = {handler for handler in handlers if _takes_resync(handler)}
        self._membership: Membership | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, handler: Handler) -> None:
        """Hand the events from the next one on to a further handler."""
        self._handlers.append(handler)
        if _takes_resync(handler):
            self._resync.add(handler)

    async def start(self) -> None:
        """Subscribe; what is published after the return reaches the handlers.

        Raises:
            ConnectionFailed: no server in time.
        """
        follower = self._follower
        await follower.start()
        if self._members is not None and isinstance(follower, HistoryFollower):
            membership = Membership(self._members, at=str(follower.last))
            try:
                await membership.join()
            except BaseException:
                follower.close()
                raise
            self._membership = membership
            self._tasks.append(asyncio.create_task(membership.run()))
        self._tasks.append(asyncio.create_task(self._run()))

    async def stop(self) -> None:
        """End the subscription; a handler that runs is cancelled."""
        self._follower.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._membership is not None:
            await self._membership.leave()

    async def _run(self) -> None:
        """Follow the channel until the follower is closed; after an error, go on."""
        while True:
            try:
                async for item in self._follower.events():
                    if isinstance(item, Resync):
                        await self._tell_resync(item)
                    else:
                        await self.handle(item)
                return
            except NotOpen:
                return
            except ServerError as error:
                logger.warning("channel %s: following it waits: %s", self._channel, error)
            except Exception:
                logger.exception("channel %s: following it failed, going on", self._channel)
            self._follower.look_again()
            await asyncio.sleep(1.0)

    async def handle(self, heard: Heard) -> None:
        """Hand one event to every handler."""
        error = ""
        try:
            event = self._codec.decode(heard.event)
        except Exception as invalid:  # whatever an event holds, the next ones must be heard
            error = text_of(invalid)[:500]
            logger.error("channel %s: an event was skipped: %s", self._channel, error)
        else:
            for handler in self._handlers:
                error = await self._call(handler, event) or error
        if self._membership is not None:
            self._membership.handled(heard.id, error, asks=heard.asks)

    async def _tell_resync(self, resync: Resync) -> None:
        if not self._resync:
            logger.warning("channel %s: events were missed", self._channel)
        for handler in self._handlers:
            if handler in self._resync:
                await self._call(handler, resync)

    async def _call(self, handler: Handler, event: Any) -> str:
        """Call one handler; return its error as text, empty if it raised none.

        Whatever the handler raises is its own failure: neither a CancelledError of something that
        it awaited nor a SystemExit ends the subscription, or the process.
        """
        try:
            await call_handler(handler, event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the subscription is being stopped
            logger.error("channel %s: handler %r failed", self._channel, handler, exc_info=error)
            return f"{type(error).__name__}: {text_of(error)}"[:500]
        return ""


def _takes_resync(handler: Handler) -> bool:
    """Whether the annotation of the handler's parameter allows `Resync`."""
    function: Any = handler
    if not inspect.isroutine(handler):  # a functools.partial, or an object that can be called
        function = getattr(handler, "func", type(handler).__call__)
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        return False
    hints.pop("return", None)
    first = next(iter(hints.values()), None)
    return first is Resync or Resync in typing.get_args(first)
