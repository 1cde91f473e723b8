"""Setting: configuration that every process shares, always current in memory."""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

from castwork.channels.event import EventCodec
from castwork.channels.publisher import Publisher
from castwork.channels.receipt import Receipt
from castwork.channels.subscription import Subscription
from castwork.model.errors import InvalidArguments
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Setting(Generic[T]):
    """A typed value shared by every process: reading it costs an attribute access.

    It is the last event of a channel of its own, so a process that starts late or was away
    has the current value as soon as the app is open.

    Attributes:
        name: its name.
        value: the current value; the default until the app is open.
    """

    def __init__(
        self,
        name: str,
        codec: EventCodec[T],
        connections: Connections,
        keys: ChannelKeys,
        default: T,
    ) -> None:
        self.name = name
        self.value = default
        self.codec = codec
        self._keys = keys
        self._connections = connections
        self._publisher = Publisher(connections)
        self._subscription: Subscription[T] | None = None

    def __repr__(self) -> str:
        return f"Setting({self.name!r}, {self.value!r})"

    async def set(self, value: T) -> Receipt:
        """Change the value everywhere.

        Returns:
            A receipt; `await receipt.applied()` tells which processes have it.

        Raises:
            InvalidArguments: it is not of the setting's type.
            ConnectionFailed: no server in time.
        """
        raw = self.codec.encode(value)
        event_id = await self._publisher.append(self._keys, raw, keep=1)
        return Receipt(self._connections, self.name, self._keys, event_id)

    async def start(self) -> None:
        """Read the current value and follow its changes."""
        if self._subscription is not None:
            return
        page = await self._connections.commands.call(
            "XREVRANGE", self._keys.history, "+", "-", "COUNT", 1
        )
        after = "0-0"  # a value set from here on must not be missed
        if page:
            entry_id, fields = page[0]
            raw = dict(zip(fields[::2], fields[1::2], strict=True))[b"event"]
            try:
                self._apply(self.codec.decode(raw))
            except InvalidArguments as error:
                logger.error("setting %s keeps its default: %s", self.name, error)
            after = entry_id.decode()
        subscription = Subscription(
            self._connections, self.name, self._keys, self.codec, [self._on_event], after=after
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

    def _apply(self, value: T) -> None:
        self.value = value
        logger.info("setting %s is now %r", self.name, value)
