"""Channel: a named broadcast; every subscriber gets every event."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar, overload

import msgspec

from castwork.channels.event import Delivered, EventCodec, Resync
from castwork.channels.follower import Heard, HistoryFollower, PlainFollower
from castwork.channels.publisher import Publisher
from castwork.channels.receipt import Receipt
from castwork.channels.subscription import Subscription
from castwork.model.errors import DefinitionError, InvalidArguments, ServerError
from castwork.model.option_values import Check, Seconds, count, duration, seconds, settle, text
from castwork.model.origin import is_declared_again
from castwork.model.position import Position
from castwork.redis.connections import Connections
from castwork.redis.handlers import Handler
from castwork.redis.portal import portal
from castwork.store.histories import Histories
from castwork.store.members import Members

logger = logging.getLogger(__name__)

E = TypeVar("E")
H = TypeVar("H", bound=Handler)


_GROUP_CHECKS: dict[str, Check] = {
    "group": text(empty=False),
    "attempts": count(),
    "timeout": duration(above_zero=True, optional=True),
}


class GroupHandler(msgspec.Struct, frozen=True):
    """A durable subscription: the processes of the group share the events, one process per event.

    Attributes:
        group: name of the group.
        handler: the function.
        attempts: deliveries of one event before it is dead-lettered.
        timeout: seconds that handling one event may take.
    """

    group: str
    handler: Handler
    attempts: int
    timeout: float | None

    def __post_init__(self) -> None:
        settle(self, _GROUP_CHECKS, of=f"group {self.group!r}: ")


class Channel(Generic[E]):
    """A named broadcast of typed events.

    Without history it is a plain Redis channel of exactly its name, with events as plain JSON:
    any program can publish and subscribe. A subscriber misses the events that are published while
    it is away, and gets a `Resync`. With `history=n` the last n events are kept: a subscriber
    that was away catches up, in order and without doubles.

    Attributes:
        name: the channel's name.
        history: events kept, 0 for none.
    """

    def __init__(
        self,
        name: str,
        codec: EventCodec[E],
        connections: Connections,
        namespace: str,
        *,
        history: int,
    ) -> None:
        self.name = name
        self.history = history
        self.codec = codec
        self._connections = connections
        self._namespace = namespace
        self._histories = Histories.of_channel(connections, namespace, name, keeps=history > 0)
        self.publisher = Publisher(self._histories, codec, keep=history)
        self._handlers: list[Handler] = []
        self.groups: list[GroupHandler] = []
        self._subscription: Subscription[E] | None = None
        #: The event loop in which the app is open, None while it is not.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, history={self.history})"

    @property
    def handlers(self) -> list[Handler]:
        """The handlers of this process."""
        return list(self._handlers)

    @property
    def has_history(self) -> bool:
        """Whether events are kept for subscribers that were away."""
        return self.history > 0

    @property
    def history_stream(self) -> str:
        """Key of the history's stream, which group handlers adopt."""
        return self._histories.stream

    async def publish(self, event: E) -> Receipt:
        """Publish an event; returns when the server has it.

        Returns:
            A receipt: `receipt.id`, and on a channel with history `await receipt.applied()`.

        Raises:
            InvalidArguments: the event is not of the channel's type.
            PayloadTooLarge: the event is over the limit.
            EffectUnknown: the reply was lost, so that the event may or may not be out. A channel
                with history first looks for the event, and sends it again, for 15 seconds.
            ConnectionFailed: no server in time; nothing was done.
            QueueFull: a group holds up far more events than the history keeps.
        """
        return await self.publisher.publish(event)

    def publish_sync(self, event: E) -> Receipt:
        """`publish` for callers without an event loop; raises as it, and WouldBlock."""
        return self.publisher.publish_sync(event, name="publish")

    @overload
    def subscribe(self, handler: H, /) -> H: ...

    @overload
    def subscribe(
        self,
        handler: None = None,
        /,
        *,
        group: str | None = None,
        attempts: int = 5,
        timeout: Seconds | None = 300.0,
    ) -> Callable[[H], H]: ...

    def subscribe(
        self,
        handler: Handler | None = None,
        /,
        *,
        group: str | None = None,
        attempts: int = 5,
        timeout: Seconds | None = 300.0,
    ) -> Any:
        """Register a handler, as `@channel.subscribe` or `@channel.subscribe(group=...)`.

        Without a group every process that opens the app runs the handler, for every event from
        then on. Once the app is open, a handler that is added inside its event loop hears, too.
        With a group the workers share the events: each event is a task of one of them,
        at least once, with retries and dead letters.

        Args:
            group: name of the group.
            attempts: deliveries of one event before it is dead-lettered; groups only.
            timeout: seconds that handling one event may take; groups only.

        Raises:
            DefinitionError: a group on a channel without history, or one that has another handler;
                an option has no such value; the app is open, and this is called outside of its
                event loop.
        """
        if handler is not None:
            self._add(handler)
            return handler
        if group is not None and not self.has_history:
            raise DefinitionError(
                f"channel {self.name!r} has no history, so a group could not be durable:"
                " declare it with history="
            )

        bound = None if timeout is None else seconds("timeout", timeout)

        def register(function: H) -> H:
            if group is None:
                self._add(function)
            else:
                self._add_group(GroupHandler(group, function, attempts, bound))
            return function

        return register

    def _add_group(self, made: GroupHandler) -> None:
        """Add a group; the same handler, declared again, replaces what it was before."""
        for number, before in enumerate(self.groups):
            if before.group == made.group:
                if not is_declared_again(before.handler, made.handler):
                    raise DefinitionError(
                        f"channel {self.name!r}: group {made.group!r} has a handler: give the"
                        " other one a group of its own, as one handler of a group gets each event"
                    )
                self.groups[number] = made
                return
        self.groups.append(made)

    def _add(self, handler: Handler) -> None:
        self._handlers.append(handler)
        if self._loop is None:
            return
        try:
            is_inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_inside = False
        if not is_inside:
            self._handlers.remove(handler)
            raise DefinitionError(
                f"channel {self.name!r}: the app is open; subscribe before, or in its event loop"
            )
        if self._subscription is not None:
            self._subscription.add(handler)
        elif self._starting is None:
            self._starting = asyncio.create_task(self._start_late())

    async def _start_late(self) -> None:
        while self._loop is not None:
            try:
                await self.start()
                return
            except ServerError as error:
                logger.warning("channel %s: subscribing waits: %s", self.name, error)
                await asyncio.sleep(1.0)

    async def listen(self, after: str | None = None) -> AsyncIterator[Delivered[E] | Resync]:
        """Follow the channel: events as they come, and a `Resync` where some are missing.

        An event that is not of the channel's type is skipped, and logged.

        Args:
            after: id of the last event that the caller has, "0" for the whole history; None
                to begin with the next event. Channels with history only.

        Raises:
            UndecodableEntry: `after` is no id.
            ConnectionFailed: no server in time.
        """
        async for item in self.listen_raw(after):
            if isinstance(item, Resync):
                yield item
                continue
            try:
                event = self.codec.decode(item.event)
            except InvalidArguments as invalid:
                logger.error("channel %s: an event was skipped: %s", self.name, invalid)
                continue
            yield Delivered(item.id, event)

    def listen_sync(self, after: str | None = None) -> Iterator[Delivered[E] | Resync]:
        """`listen` for callers without an event loop; raises as it, and WouldBlock."""
        connections = self._connections.twin
        twin = Channel(self.name, self.codec, connections, self._namespace, history=self.history)
        return portal.iterate("listen", lambda: twin.listen(after))

    async def listen_raw(self, after: str | None = None) -> AsyncIterator[Heard | Resync]:
        """Follow the channel as `listen`, with each event as undecoded JSON."""
        follower = self.follower(after)
        await follower.start()
        try:
            async for item in follower.events():
                yield item
        finally:
            follower.close()

    def follower(self, after: str | None = None) -> PlainFollower | HistoryFollower:
        """A follower, for callers that must know when it has subscribed.

        Raises:
            UndecodableEntry: `after` is no id.
        """
        if not self.has_history:
            return PlainFollower(self._histories.place)
        return self.history_follower(None if after is None else Position.parse_or_start(after))

    def history_follower(self, after: Position | None) -> HistoryFollower:
        """A follower of a channel with history."""
        return HistoryFollower(self._histories, after=after)

    async def start(self) -> None:
        """Begin to run this process's handlers, if there are any.

        Warns where other programs listen to the plain Redis channel of this name, which a channel
        with history does not use.

        Raises:
            ConnectionFailed: no server in time.
        """
        self._loop = asyncio.get_running_loop()
        if self.has_history and (others := await self._histories.outsiders()):
            logger.warning(
                "channel %s has a history, but others listen to the plain Redis channel of its name"
                " (%d of them): they hear no events, and what plain programs publish there is not"
                " heard. Declare it without history=, or give this channel another name",
                self.name,
                others,
            )
        if self._handlers and self._subscription is None:
            count = len(self._handlers)
            members = Members.of_channel(self._histories.place) if self.has_history else None
            subscription = Subscription(
                self.name, self.codec, list(self._handlers), self.follower(), members
            )
            await subscription.start()
            for handler in self._handlers[count:]:  # added meanwhile
                subscription.add(handler)
            self._subscription = subscription

    async def stop(self) -> None:
        """Stop running this process's handlers."""
        self._loop = None
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.stop()

    def group_runner(self, group: GroupHandler) -> Callable[[str], Awaitable[None] | None]:
        """The task function that handles one event of a group, given the event's JSON.

        It is of the handler's own kind: the worker runs a plain handler in one of its threads.
        """
        codec, handler = self.codec, group.handler

        async def run(event: str) -> None:
            await finish(handler(codec.decode(event.encode())))

        def run_in_thread(event: str) -> Any:
            begun = handler(codec.decode(event.encode()))
            return finish(begun) if inspect.isawaitable(begun) else None

        async def finish(begun: Any) -> None:
            await begun  # what it answers is nobody's: a group has no results

        return run if inspect.iscoroutinefunction(handler) else run_in_thread

    def decode(self, value: Any) -> E:
        """Check plain values against the channel's type. Raises InvalidArguments."""
        return self.codec.convert(value)
