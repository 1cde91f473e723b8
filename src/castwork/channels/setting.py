"""Setting: configuration that every process shares and has in memory."""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

from castwork.channels.event import EventCodec
from castwork.channels.follower import HistoryFollower
from castwork.channels.publisher import Publisher
from castwork.channels.receipt import Receipt
from castwork.channels.subscription import Subscription
from castwork.model.errors import InvalidArguments, UndecodableEntry
from castwork.model.position import START
from castwork.redis.connections import Connections
from castwork.store.histories import Histories, read_event
from castwork.store.members import Members
from castwork.store.tail import StreamEntry

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Setting(Generic[T]):
    """A typed value shared by every process: reading it costs an attribute access.

    The value is the last event of a history of its own, so a process that starts late has the
    current value as soon as the app is open, and a process that was away gets it.

    Attributes:
        name: the setting's name.
        value: the current value; the default until the app is open.
    """

    def __init__(
        self,
        name: str,
        codec: EventCodec[T],
        connections: Connections,
        namespace: str,
        default: T,
    ) -> None:
        self.name = name
        self.value = default
        self.codec = codec
        self._histories = Histories.of_setting(connections, namespace, name)
        self.publisher = Publisher(self._histories, codec, keep=1)
        self._subscription: Subscription[T] | None = None

    def __repr__(self) -> str:
        return f"Setting({self.name!r}, {self.value!r})"

    async def set(self, value: T) -> Receipt:
        """Change the value everywhere.

        Returns:
            A receipt; `await receipt.applied()` tells which processes have it.

        Raises:
            InvalidArguments: the value is not of the setting's type.
            ConnectionFailed: no server in time.
        """
        return await self.publisher.publish(value)

    def set_sync(self, value: T) -> Receipt:
        """`set` for callers without an event loop; raises as it, and WouldBlock."""
        return self.publisher.publish_sync(value, name="set")

    async def start(self) -> None:
        """Read the current value and follow its changes.

        Raises:
            ConnectionFailed: no server in time.
        """
        if self._subscription is not None:
            return
        newest = await self._histories.newest()
        if newest is not None:
            self._take(newest)
        # START, not None: a value that is set before the subscription is up must not be missed.
        after = START if newest is None else newest.position
        subscription = Subscription(
            self.name,
            self.codec,
            [self._on_event],
            HistoryFollower(self._histories, after=after),
            Members.of_channel(self._histories.place),
        )
        await subscription.start()
        self._subscription = subscription

    async def stop(self) -> None:
        """Stop following; the last value stays."""
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.stop()

    async def _on_event(self, value: T) -> None:
        self._apply(value)

    def _take(self, entry: StreamEntry) -> None:
        try:
            self._apply(self.codec.decode(read_event(entry).value.event))
        except (InvalidArguments, UndecodableEntry) as error:
            logger.error("setting %s keeps its default: %s", self.name, error)

    def _apply(self, value: T) -> None:
        self.value = value
        logger.info("setting %s is now %r", self.name, value)
