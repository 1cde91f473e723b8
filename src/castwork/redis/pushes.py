"""Pushes: one connection for all subscriptions of a process, shared by its listeners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol

import hiredis

from castwork.model.errors import NotOpen
from castwork.model.retry import Backoff
from castwork.model.settings import LinkSettings
from castwork.redis.address import Endpoint, Target
from castwork.redis.link import Link
from castwork.redis.login import Login
from castwork.redis.replies import NotNow
from castwork.redis.wire import Call, Marker

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears one Redis channel. Both methods must return at once."""

    def on_message(self, payload: bytes) -> None:
        """Take a message."""

    def on_resumed(self) -> None:
        """Know that the connection was away: messages may be missing."""


class _PushLink(Link):
    """A link that also sends subscriptions, which the server answers by pushes."""

    def subscribe(
        self, verb: str, name: bytes, on_answer: Callable[[Exception | None], None]
    ) -> None:
        """Send a SUBSCRIBE or UNSUBSCRIBE of one name; dropped while there is no connection."""
        if self._wire is not None:
            marker = Marker([verb.lower().encode(), name], on_answer)
            # Deadline 0, as no caller waits: every new connection subscribes the channel anew, so
            # the command itself need not be kept for one.
            words: tuple[Any, ...] = (verb, name)
            self._wire.send(Call(marker, hiredis.pack_command(words), 0.0, False))


class _Subscription:
    """The listeners of one Redis channel.

    Attributes:
        confirmed: done once the present connection is subscribed.
        was_heard: whether an earlier connection was subscribed. Then the next confirmation is
            told to listeners with `on_resumed`, and a refusal does not end the subscription.
    """

    __slots__ = ("confirmed", "listeners", "was_heard")

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.was_heard = False
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        """Raise an error in `Pushes.add`, which waits for the confirmation."""
        if not self.confirmed.done():
            self.confirmed.set_exception(error)
            self.confirmed.exception()  # marked as seen: perhaps nobody waits any more

    def lost(self) -> None:
        """Note that the connection is gone: there will be another confirmation."""
        if self.confirmed.done():
            self.was_heard = True
            self.confirmed = asyncio.get_running_loop().create_future()

    def tell_resumed(self) -> None:
        """Tell the listeners that messages may be missing."""
        for listener in tuple(self.listeners):
            try:
                listener.on_resumed()
            except Exception:
                logger.exception("a listener that was away failed")


class Pushes:
    """Subscribes to Redis channels over one RESP3 connection.

    Pub/sub itself forgets: what is published while the connection is away is lost. After a
    reconnect every channel is subscribed again and its listeners are told with `on_resumed`,
    so that they can catch up from what Redis keeps.

    Each name is subscribed by a command of its own, so that a refused name (an ACL without that
    channel) takes no other name with it: `add` raises the error. Where a channel was heard before
    and only its renewal is refused, it is asked for again from time to time.

    Args:
        find: tells where a server is; asked at each connect.
        settings: timeouts.
        login: whom to log in.
        target: TLS; names of Redis channels are the same in all databases.
        name: shown by CLIENT LIST.
    """

    _SUBSCRIBE, _UNSUBSCRIBE, _MESSAGE = "SUBSCRIBE", "UNSUBSCRIBE", b"message"
    _ASK_AGAIN = Backoff(base=2.0, longest=30.0)

    def __init__(
        self,
        find: Callable[[], Awaitable[Endpoint]],
        settings: LinkSettings,
        login: Login,
        *,
        target: Target,
        name: str,
    ) -> None:
        self._link = _PushLink(
            find, settings, login, target=target, name=name, on_push=self._on_push
        )
        self._link.on_connected.append(self._subscribe_all)
        self._link.on_lost.append(self._lost)
        self._channels: dict[bytes, _Subscription] = {}
        self._changed: set[bytes] = set()
        self._refused: set[bytes] = set()
        self._rounds = 0
        self._asking: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect. Raises what `Link.open` raises."""
        await self._link.open()

    async def close(self) -> None:
        """Close the connection; listeners are told once more, and hear nothing after that."""
        channels, self._channels = self._channels, {}
        self._stop_asking()
        await self._link.close()
        for subscription in channels.values():
            subscription.fail(NotOpen("the connection was closed"))
            subscription.tell_resumed()

    @property
    def is_connected(self) -> bool:
        """Whether messages arrive right now."""
        return self._link.is_connected

    async def add(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns when the server has confirmed it.

        What is published after the return is heard, as long as the connection lasts. While
        there is no connection, this waits for one.

        Raises:
            AuthenticationFailed, ServerRefused: the server does not let us hear the channel.
            NotOpen: the connection was closed.
        """
        name = channel.encode()
        subscription = self._channels.get(name)
        if subscription is None:
            subscription = self._channels[name] = _Subscription()
            self._change(name)
        subscription.listeners.append(listener)
        try:
            await asyncio.shield(subscription.confirmed)
        except BaseException:
            self.remove(channel, listener)
            raise

    def remove(self, channel: str, listener: Listener) -> None:
        """Stop listening; the last listener of a channel ends its subscription."""
        name = channel.encode()
        subscription = self._channels.get(name)
        if subscription is None or listener not in subscription.listeners:
            return
        subscription.listeners.remove(listener)
        if not subscription.listeners:
            del self._channels[name]
            self._change(name)
            if not subscription.confirmed.done():
                subscription.confirmed.cancel()

    def _change(self, name: bytes) -> None:
        """Note a changed name; all changes of one loop tick go out together."""
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._changed.add(name)

    def _flush(self) -> None:
        changed, self._changed = self._changed, set()
        self._subscribe(changed & self._channels.keys())
        for name in changed - self._channels.keys():
            self._link.subscribe(self._UNSUBSCRIBE, name, partial(self._unsubscribed, name))

    def _subscribe(self, names: Iterable[bytes]) -> None:
        for name in names:
            answered = partial(self._subscribed, name, self._channels[name])
            self._link.subscribe(self._SUBSCRIBE, name, answered)

    def _subscribe_all(self) -> None:
        self._stop_asking()
        self._subscribe(self._channels)

    def _lost(self) -> None:
        for subscription in self._channels.values():
            subscription.lost()

    def _on_push(self, push: list[Any]) -> None:
        if push[0] != self._MESSAGE:
            return
        subscription = self._channels.get(push[1])
        if subscription is None:
            return
        for listener in tuple(subscription.listeners):
            try:
                listener.on_message(push[2])
            except Exception:
                logger.exception("a listener of %r failed", push[1])

    def _subscribed(
        self, name: bytes, subscription: _Subscription, refusal: Exception | None
    ) -> None:
        if self._channels.get(name) is not subscription:
            return  # the subscription has ended since; an UNSUBSCRIBE follows
        if refusal is None:
            self._confirm(subscription)
        elif isinstance(refusal, NotNow):
            self._ask_later(name, refusal.wait(self._rounds + 1))
        else:
            self._refuse(name, subscription, refusal)

    def _unsubscribed(self, name: bytes, refusal: Exception | None) -> None:
        # Any other refusal is left alone: messages still come, and are thrown away, as no listener
        # is left.
        if isinstance(refusal, NotNow) and name not in self._channels:
            self._ask_later(name, refusal.wait(self._rounds + 1))

    def _confirm(self, subscription: _Subscription) -> None:
        if subscription.confirmed.done():
            return
        subscription.confirmed.set_result(None)
        if subscription.was_heard:
            subscription.was_heard = False
            subscription.tell_resumed()

    def _refuse(self, name: bytes, subscription: _Subscription, refusal: Exception) -> None:
        logger.error("subscribing to %r was refused: %s", name, refusal)
        subscription.fail(refusal)
        if subscription.was_heard:
            subscription.confirmed = asyncio.get_running_loop().create_future()
            self._ask_later(name, self._ASK_AGAIN.wait(self._rounds + 1))
        else:
            del self._channels[name]

    def _ask_later(self, name: bytes, wait: float) -> None:
        """Send the command for a name again after the wait, or earlier with another name's."""
        self._refused.add(name)
        loop = asyncio.get_running_loop()
        if self._asking is not None:
            if self._asking.when() <= loop.time() + wait:
                return
            self._asking.cancel()
        self._asking = loop.call_later(wait, self._ask_again)

    def _ask_again(self) -> None:
        self._asking = None
        self._rounds += 1
        refused, self._refused = self._refused, set()
        for name in refused:
            self._change(name)

    def _stop_asking(self) -> None:
        self._refused.clear()
        self._rounds = 0
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
