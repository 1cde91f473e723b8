"""Pushes: one connection for all subscriptions of a process, shared by its listeners."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol

from castwork.model.errors import NotOpen
from castwork.model.settings import LinkSettings
from castwork.redis.address import Address
from castwork.redis.link import Link
from castwork.redis.wire import REFUSED

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears one Redis channel. Both methods must return at once."""

    def on_message(self, payload: bytes) -> None:
        """Take a message."""

    def on_resumed(self) -> None:
        """Know that the connection was away: messages may be missing."""


class _Subscription:
    """The listeners of one Redis channel."""

    def __init__(self, confirmed: asyncio.Future[None]) -> None:
        self.listeners: list[Listener] = []
        self.confirmed = confirmed


class Pushes:
    """Subscribes to Redis channels over one RESP3 connection.

    Pub/sub itself forgets: what is published while the connection is away is lost. After a
    reconnect every channel is subscribed again and its listeners are told with `on_resumed`,
    so that they can catch up from what Redis keeps.
    """

    def __init__(self, address: Address, settings: LinkSettings, *, name: str) -> None:
        self._link = Link(address, settings, name=name, on_push=self._on_push)
        self._link.on_connected.append(self._subscribe_all)
        self._link.on_lost.append(self._await_again)
        self._channels: dict[bytes, _Subscription] = {}
        self._resumed: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._unconfirmed: Counter[bytes] = Counter()

    async def open(self) -> None:
        """Connect. Raises what `Link.open` raises."""
        await self._link.open()

    async def close(self) -> None:
        """Close the connection; listeners are told once more, and hear nothing after that."""
        await self._link.close()
        channels, self._channels = self._channels, {}
        for subscription in channels.values():
            if not subscription.confirmed.done():
                subscription.confirmed.set_exception(NotOpen("the connection was closed"))
                subscription.confirmed.exception()  # seen, also when nobody waits any more
            for listener in tuple(subscription.listeners):
                listener.on_resumed()

    @property
    def is_connected(self) -> bool:
        """Whether messages arrive right now."""
        return self._link.is_connected

    async def add(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns when the server has confirmed it.

        What is published after the return is heard, as long as the connection lasts.
        """
        confirmed = self._listen(channel, listener)
        try:
            await asyncio.shield(confirmed)
        except BaseException:
            self.remove(channel, listener)
            raise

    async def add_and_ask(
        self, channel: str, listener: Listener, *commands: tuple[Any, ...]
    ) -> list[Any]:
        """Listen to a channel, and ask what it has told before: both in one round trip.

        The commands run behind the subscription, on its connection: what happens after they
        have run is heard. They must be idempotent.

        Returns:
            The reply to each command.

        Raises:
            ConnectionFailed: no connection in time.
            ServerRefused: the subscription or a command was refused.
        """
        confirmed = self._listen(channel, listener)
        self._link.join()
        self._flush()
        try:
            replies = await asyncio.gather(*(self._link.call(*command) for command in commands))
            await asyncio.shield(confirmed)
        except BaseException:
            self.remove(channel, listener)
            raise
        return replies

    def _listen(self, channel: str, listener: Listener) -> asyncio.Future[None]:
        name = channel.encode()
        subscription = self._channels.get(name)
        if subscription is None:
            subscription = _Subscription(asyncio.get_running_loop().create_future())
            self._channels[name] = subscription
            self._change(name)
        subscription.listeners.append(listener)
        return subscription.confirmed

    def remove(self, channel: str, listener: Listener) -> None:
        """Stop listening; the last listener of a channel ends its subscription."""
        name = channel.encode()
        subscription = self._channels.get(name)
        if subscription is None or listener not in subscription.listeners:
            return
        subscription.listeners.remove(listener)
        if not subscription.listeners:
            del self._channels[name]
            self._resumed.discard(name)
            self._change(name)

    def _change(self, name: bytes) -> None:
        """Note a change; those of one loop tick go out together."""
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._changed.add(name)

    def _flush(self) -> None:
        changed, self._changed = self._changed, set()
        wanted = [name for name in changed if name in self._channels]
        self._unconfirmed.update(wanted)
        if wanted:
            self._link.write("SUBSCRIBE", *wanted)
        if len(wanted) < len(changed):
            self._link.write("UNSUBSCRIBE", *(changed - self._channels.keys()))

    def _on_push(self, push: list[Any]) -> None:
        kind, name = push[0], push[1]
        if kind == b"message":
            subscription = self._channels.get(name)
            if subscription is None:
                return
            for listener in tuple(subscription.listeners):
                try:
                    listener.on_message(push[2])
                except Exception:
                    logger.exception("a listener of %r failed", name)
        elif kind == b"subscribe":
            self._confirm(name)
        elif kind == REFUSED:
            self._fail(push[1])

    def _confirm(self, name: bytes) -> None:
        self._unconfirmed[name] -= 1
        if self._unconfirmed[name] > 0:
            return  # of an earlier SUBSCRIBE, which an UNSUBSCRIBE has followed
        del self._unconfirmed[name]
        subscription = self._channels.get(name)
        if subscription is None:
            return
        if not subscription.confirmed.done():
            subscription.confirmed.set_result(None)
        if name in self._resumed:
            self._resumed.discard(name)
            for listener in tuple(subscription.listeners):
                listener.on_resumed()

    def _fail(self, error: Exception) -> None:
        """A SUBSCRIBE was refused, as an ACL without channels does: tell who waits for it."""
        logger.error("subscribing was refused: %s", error)
        self._unconfirmed.clear()
        for name, subscription in tuple(self._channels.items()):
            if not subscription.confirmed.done():
                del self._channels[name]
                subscription.confirmed.set_exception(error)
                subscription.confirmed.exception()  # seen, also when nobody waits any more

    def _await_again(self) -> None:
        """Remember who was subscribed: they must be told when they hear again."""
        for name, subscription in self._channels.items():
            if subscription.confirmed.done():
                self._resumed.add(name)

    def _subscribe_all(self) -> None:
        names = list(self._channels)
        self._unconfirmed = Counter(names)
        for start in range(0, len(names), 500):
            self._link.write("SUBSCRIBE", *names[start : start + 500])
