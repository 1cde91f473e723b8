"""Link: one lasting connection to the server, whatever happens to the sockets under it."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from castwork.model.errors import (
    AuthenticationFailed,
    CastworkError,
    ConnectionFailed,
    EffectUnknown,
    NotOpen,
    ServerRefused,
    ServerUnavailable,
    ServerUnsupported,
)
from castwork.model.settings import LinkSettings
from castwork.redis.address import Address
from castwork.redis.wire import Call, Wire

logger = logging.getLogger(__name__)

_PING = hiredis.pack_command(("PING",))


class Link:
    """Pipelines every call of a loop tick into one write, and reconnects by itself.

    Calls wait while there is no connection, up to their deadline. When a connection breaks,
    calls without a reply are sent again if they are idempotent; the others raise
    `EffectUnknown`. A server that is silent is found by a PING with a deadline.

    A call is never cancelled on the wire: a caller that stops waiting leaves its reply to be
    thrown away when it comes, so replies never get out of step.

    Args:
        address: the server.
        settings: timeouts.
        name: shown by CLIENT LIST.
        patience: seconds that the server may rightly be silent on top of the ping timeout
            (the BLOCK time of a blocking read).
        on_push: called with each push frame.
    """

    def __init__(
        self,
        address: Address,
        settings: LinkSettings,
        *,
        name: str,
        patience: float = 0.0,
        on_push: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self.address = address
        #: Called when a connection is ready, the first one included.
        self.on_connected: list[Callable[[], None]] = []
        #: Called when a connection is lost.
        self.on_lost: list[Callable[[], None]] = []
        self._settings = settings
        self._name = name
        self._patience = patience
        self._on_push = on_push or (lambda _push: None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wire: Wire | None = None
        self._waiting: deque[Call] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._quiet_since = 0.0
        self._owed_since = 0.0
        self._last_error: Exception | None = None
        self._tries = 0
        self.client_id = 0

    @property
    def is_connected(self) -> bool:
        """Whether calls go out right now."""
        return self._wire is not None

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            ServerUnavailable: nothing answers at the address.
            AuthenticationFailed: the login is refused.
            ServerUnsupported: the server does not speak RESP3 (older than 6.0).
        """
        self._loop = asyncio.get_running_loop()
        wire = await self._connect()
        self._adopt(wire)
        self._watch = self._loop.call_later(0.5, self._look)

    def call(self, *command: Any, idempotent: bool = True, timeout: float | None = None) -> Any:
        """Send a command; await the returned future for its reply.

        Args:
            command: name and arguments: str, bytes, int or float.
            idempotent: whether the command may be sent twice. Reads, scripts and writes that
                set a given value may; XADD with `*`, PUBLISH and INCR may not.
            timeout: seconds to wait for the reply, None for the link's own.

        Raises (on await):
            EffectUnknown: the connection broke after a command that is not idempotent.
            ConnectionFailed: no connection within the timeout; nothing was done.
            ServerRefused: the server answered with an error.
        """
        loop = self._loop
        if loop is None:
            raise NotOpen("the connection is closed: use the app inside `async with app`")
        call = Call(
            loop.create_future(),
            hiredis.pack_command(command),
            loop.time() + (self._settings.call_timeout if timeout is None else timeout),
            idempotent,
        )
        if self._wire is not None:
            self._wire.send(call)
        else:
            self._waiting.append(call)
        return call.reply

    def write(self, *command: Any) -> None:
        """Send a command that is answered by a push only; dropped while not connected."""
        if self._wire is not None:
            self._wire.write(hiredis.pack_command(command))

    def join(self) -> None:
        """Have all commands of this tick go out in one write, at its end."""
        if self._wire is not None:
            self._wire.join()

    async def close(self) -> None:
        """Close the connection; calls without a reply raise `NotOpen`."""
        self._loop = None
        if self._watch is not None:
            self._watch.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
            self._connecting = None
        if self._wire is not None:
            wire, self._wire = self._wire, None
            wire.abort()
            self._fail(list(wire.sent))
            await asyncio.sleep(0)  # let the transport close its socket
        self._fail(list(self._waiting))
        self._waiting.clear()

    def _fail(self, calls: list[Call]) -> None:
        for call in calls:
            if not call.reply.done():
                call.reply.set_exception(NotOpen("the connection was closed"))
                call.reply.exception()  # seen: a caller that is gone must not be warned about

    async def _connect(self) -> Wire:
        """Open a socket, log in, and return the ready wire."""
        loop = self._loop
        assert loop is not None
        address = self.address
        wire = Wire(loop, self._on_push, self._lost)
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                if address.path:
                    await loop.create_unix_connection(lambda: wire, address.path)
                else:
                    transport, _ = await loop.create_connection(
                        lambda: wire, address.host, address.port, ssl=address.tls
                    )
                    _keep_alive(transport.get_extra_info("socket"))
                await self._greet(wire)
                if wire.is_closed:
                    raise ConnectionResetError("the connection was closed at once")
        except AuthenticationFailed as error:
            wire.abort()
            raise AuthenticationFailed(f"{address} refused the login: {error}") from error
        except (OSError, TimeoutError, CastworkError) as error:
            wire.abort()
            if isinstance(error, ServerUnsupported):
                raise
            reason = str(error) or "no answer in time"
            raise ServerUnavailable(f"no Redis or Valkey at {address}: {reason}") from error
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _greet(self, wire: Wire) -> None:
        """Shake hands: RESP3, login, name, database, and our id on the server."""
        address = self.address
        hello: list[Any] = ["HELLO", 3]
        if address.password is not None:
            hello += ["AUTH", address.username or "default", address.password]
        commands: list[list[Any]] = [hello, ["CLIENT", "SETNAME", self._name]]
        if address.database:
            commands.append(["SELECT", address.database])
        assert self._loop is not None
        replies = []
        for command in commands:
            call = Call(
                self._loop.create_future(), hiredis.pack_command(tuple(command)), 0.0, False
            )
            replies.append(call.reply)
            wire.send(call)
        answers = await asyncio.gather(*replies, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, ServerRefused) and "unknown command" in str(answer).lower():
                raise ServerUnsupported(
                    f"the server at {address} does not know HELLO: Redis 6.2 or newer,"
                    " or Valkey, is needed"
                ) from answer
            if isinstance(answer, BaseException):
                raise answer
        self.client_id = replies[0].result()[b"id"]

    def _adopt(self, wire: Wire) -> None:
        """Make a ready wire the current one and send what waits."""
        self._wire = wire
        assert self._loop is not None
        self._quiet_since = self._owed_since = self._loop.time()
        for callback in self.on_connected:  # first, so that calls see what was subscribed
            callback()
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if not call.reply.done():
                wire.send(call)

    def _lost(self, wire: Wire, unanswered: list[Call]) -> None:
        if wire is not self._wire:
            # A wire that never got ready: only the handshake waits on it.
            for call in unanswered:
                if not call.reply.done():
                    call.reply.set_exception(ConnectionFailed("the connection was closed"))
            return
        self._wire = None
        if not wire.unfit:  # one that connects but cannot serve is not besieged
            self._tries = 0
        again: list[Call] = []
        for call in unanswered:
            if call.reply.done():
                continue
            if not call.deadline:
                continue  # our own PING: nobody waits for it
            if call.idempotent:
                was_sent = call.was_sent or not call.refused
                again.append(call._replace(was_sent=was_sent, refused=False))
            else:
                call.reply.set_exception(
                    EffectUnknown(
                        f"the connection to {self.address} broke before the reply came;"
                        " the command may have run"
                    )
                )
        self._waiting.extendleft(reversed(again))
        logger.warning("lost the connection %s to %s", self._name, self.address)
        for callback in self.on_lost:
            callback()
        if self._loop is not None:
            self._connecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        """Try until it works: at once first, then with growing, jittered waits."""
        while True:
            if self._tries:
                await asyncio.sleep(self._settings.backoff.wait(self._tries))
            else:
                await asyncio.sleep(random.random() * 0.02)  # many links are lost together
            self._tries += 1
            try:
                wire = await self._connect()
            except (ServerUnavailable, AuthenticationFailed, ServerUnsupported) as error:
                if self._last_error is None or str(error) != str(self._last_error):
                    logger.warning("no connection %s yet: %s", self._name, error)
                self._last_error = error
                continue
            logger.info("connection %s to %s is back", self._name, self.address)
            self._last_error = None
            self._adopt(wire)
            return

    def _look(self) -> None:
        """Every half second: end calls that are overdue, and find a silent server."""
        loop = self._loop
        if loop is None:
            return
        self._watch = loop.call_later(0.5, self._look)
        now = loop.time()
        if self._waiting:
            self._expire_waiting(now)
        wire = self._wire
        if wire is None:
            return
        if wire.heard:
            wire.heard = False
            self._quiet_since = self._owed_since = now
        if not wire.sent:
            self._owed_since = now
            if now - self._quiet_since > self._settings.ping_interval:
                self._quiet_since = now
                wire.send(Call(loop.create_future(), _PING, 0.0, True))
            return
        if now - self._owed_since > self._settings.ping_timeout + self._patience:
            logger.warning("%s is silent, connection %s is given up", self.address, self._name)
            wire.abort()
            return
        for call in wire.sent:
            if 0.0 < call.deadline < now and not call.reply.done():
                call.reply.set_exception(
                    EffectUnknown(f"no reply from {self.address} in time; the command may run yet")
                )

    def _expire_waiting(self, now: float) -> None:
        """Tell callers whose time is up, and whether their command may have run."""
        left: deque[Call] = deque()
        for call in self._waiting:
            if call.reply.done():
                continue
            if call.deadline > now:
                left.append(call)
                continue
            reason = self._last_error or "reconnecting"
            call.reply.set_exception(
                EffectUnknown(
                    f"no reply from {self.address} before its connection broke, and no other"
                    f" connection in time ({reason}); the command may have run"
                )
                if call.was_sent
                else ConnectionFailed(
                    f"no connection to {self.address} in time; nothing was done ({reason})"
                )
            )
        self._waiting = left


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel notice a dead peer within seconds, not its default of 15 minutes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
