"""Link: one lasting connection to the server, whatever happens to the sockets under it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis

from castwork.model.dice import dice
from castwork.model.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    NotOpen,
    ServerError,
    ServerUnavailable,
    ServerUnsupported,
)
from castwork.model.settings import LinkSettings
from castwork.redis.address import Endpoint, Target
from castwork.redis.backlog import Backlog, drop
from castwork.redis.handshake import Greeting, connect, unreachable
from castwork.redis.login import SLOW_LOGIN, Login
from castwork.redis.relogin import Relogin
from castwork.redis.replies import NothingDone, NotNow
from castwork.redis.threads import is_left_behind
from castwork.redis.watch import INTERVAL, Watch
from castwork.redis.wire import Call, Wire

logger = logging.getLogger(__name__)


class Link:
    """Pipelines every call of a loop tick into one write, and reconnects by itself.

    Calls wait while there is no connection, up to their deadline. When a connection breaks,
    idempotent calls without a reply are sent again; other calls without a reply raise
    `EffectUnknown`. Any call that the server refuses for now (`NotNow`) is sent again after a
    growing wait, up to the call's deadline. A silent server is found by a PING with a deadline.

    A call is never cancelled on the wire: when a caller stops waiting, the reply is still read
    and thrown away, so replies never get out of step.

    Args:
        find: tells where the server is; asked each time that the link connects.
        settings: timeouts.
        login: whom to log in; a login that is renewed is sent over the connection.
        target: TLS and the database; its seeds are not used here.
        name: shown by CLIENT LIST.
        patience: seconds that the server may rightly be silent on top of the ping timeout
            (the BLOCK time of a blocking read).
        on_push: called with each push frame.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Endpoint]],
        settings: LinkSettings,
        login: Login,
        *,
        target: Target,
        name: str,
        patience: float = 0.0,
        on_push: Callable[[list[Any]], None] | None = None,
    ) -> None:
        #: Called when a connection is ready, the first one included.
        self.on_connected: list[Callable[[], None]] = []
        #: Called when a connection is lost.
        self.on_lost: list[Callable[[], None]] = []
        #: Where the server was when the link connected last.
        self.endpoint = Endpoint()
        #: The server's reply to the last HELLO.
        self.hello: dict[bytes, Any] = {}
        self._find = find
        self._settings = settings
        self._login = login
        self._target = target
        self._name = name
        self._patience = patience
        self._on_push = on_push or (lambda _push: None)
        self._relogin = Relogin(login, self._call_once, name=name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wire: Wire | None = None
        #: The wire to a server that cannot serve, while it answers what was sent before.
        self._left: Wire | None = None
        self._backlog: Backlog
        self._connecting: asyncio.Task[None] | None = None
        self._watch = Watch(settings, patience, name=name)
        self._next_look: asyncio.TimerHandle | None = None
        self._tries = 0

    @property
    def is_connected(self) -> bool:
        """Whether calls go out right now."""
        return self._wire is not None

    @property
    def client_id(self) -> int:
        """The id of the last connection on its server, 0 before the first one."""
        return int(self.hello.get(b"id", 0))

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            ServerUnavailable: nothing answers at the address, or there is no address.
            AuthenticationFailed: the login is refused, or its source gives none.
            ServerUnsupported: the server does not speak RESP3 (older than 6.0), or has no such
                database.
        """
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog(self._loop, self._send)
        try:
            self._adopt(*await self._connect())
        except BaseException:
            self._loop = None
            raise
        self._next_look = self._loop.call_later(INTERVAL, self._look)

    def call(
        self, *command: Any, idempotent: bool = True, timeout: float | None = None
    ) -> asyncio.Future[Any]:
        """Send a command; await the returned future for its reply.

        Args:
            command: name and arguments: str, bytes, int or float.
            idempotent: whether the command may be sent twice. Reads, scripts and writes that
                set a given value may; XADD with `*`, PUBLISH and INCR may not.
            timeout: seconds to wait for the reply, None for the link's own.

        Raises (on await):
            EffectUnknown: the connection broke after a command that is not idempotent.
            ConnectionFailed: no server took the command within the timeout; nothing was done.
            ServerRefused: the server answered with an error.
        """
        loop = self._loop
        if loop is None:
            raise NotOpen("the connection is closed: use the app inside `async with app`")
        reply: asyncio.Future[Any] = loop.create_future()
        call = Call(
            reply,
            hiredis.pack_command(command),
            loop.time() + (self._settings.call_timeout if timeout is None else timeout),
            idempotent,
        )
        if self._wire is not None:
            self._wire.send(call)
        else:
            self._backlog.add(call)
        return reply

    def leave(self) -> None:
        """Drop the connection and find the server again; calls go on as after any loss.

        For clusters: a slot has moved to another server, or its server says that it cannot serve.
        """
        self._tries = 0
        if self._wire is not None:
            self._wire.abort()
        elif self._left is not None:
            self._left.abort()
        elif self._connecting is not None and self._loop is not None:
            self._connecting.cancel()
            self._connecting = self._loop.create_task(self._reconnect())

    async def close(self) -> None:
        """Close the connection; calls without a reply raise `NotOpen`."""
        self._loop = None
        self._relogin.close()
        if self._next_look is None:
            return  # the link was never open
        self._next_look.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
            self._connecting = None
        calls = self._backlog.take_all()
        wires = [wire for wire in (self._left, self._wire) if wire is not None]
        self._left = self._wire = None
        for wire in wires:
            calls += wire.unanswered
        drop(calls, NotOpen, "the connection was closed")
        for wire in wires:
            wire.abort()
            await asyncio.sleep(0)  # let the transport close its socket

    def _call_once(self, *command: Any) -> asyncio.Future[Any]:
        timeout = self._settings.call_timeout + self._patience
        return self.call(*command, idempotent=False, timeout=timeout)

    async def _connect(self) -> tuple[Wire, int]:
        """Find the server and open a ready wire to it; return the login's generation as well."""
        loop = self._loop
        assert loop is not None
        generation, credentials = await self._login.ready()
        timeout = self._settings.connect_timeout
        if self._login.is_renewed:
            timeout = max(timeout, SLOW_LOGIN)
        wire = Wire(loop, self._on_push, self._on_refused, self._cannot_serve, self._lost)
        try:
            async with asyncio.timeout(timeout):
                self.endpoint = await self._find()
                greeting = Greeting(self._target, credentials, self._name)
                self.hello = await connect(wire, self.endpoint, greeting)
        except AuthenticationFailed:
            wire.abort()
            self._login.refused(generation)
            raise
        except (ServerUnavailable, ServerUnsupported):
            wire.abort()
            raise
        except (OSError, ServerError) as error:  # a TimeoutError is an OSError
            wire.abort()
            is_tls = self._target.tls is not None
            raise unreachable(self.endpoint, wire.reason or error, tls=is_tls) from error
        except BaseException:
            wire.abort()
            raise
        return wire, generation

    def _adopt(self, wire: Wire, generation: int) -> None:
        """Make a ready wire the current one and send what waits."""
        self._wire = wire
        assert self._loop is not None
        self._backlog.where, self._backlog.reason = self.endpoint, None
        self._watch.begin(self._loop.time())
        self._relogin.connected(generation)
        for callback in self.on_connected:  # before the calls, which may rely on subscriptions
            callback()
        self._backlog.connected()

    def _send(self, call: Call) -> bool:
        if self._wire is None:
            return False
        self._wire.send(call)
        return True

    def _on_refused(self, call: Call, refusal: NothingDone) -> bool:
        if self._loop is None or not isinstance(refusal, NotNow):
            return False
        self._backlog.refuse(call, refusal)
        return True

    def _cannot_serve(self, wire: Wire) -> None:
        if wire is self._wire:
            self._left, self._wire = wire, None  # calls wait for another connection

    def _lost(self, wire: Wire, unanswered: list[Call]) -> None:
        if wire not in (self._wire, self._left):
            # A wire that never got ready: only the handshake waits on it.
            reason = str(wire.reason or "") or "the connection was closed"
            drop(unanswered, ConnectionFailed, reason)
            return
        self._wire = self._left = None
        # A server that takes connections but cannot serve keeps its backoff, else it would be
        # asked without a pause.
        if not wire.cannot_serve:
            self._tries = 0
        self._backlog.take_back(unanswered)
        self._backlog.reason = wire.reason
        # The embedded server ends with its last process, before the thread of the twins does.
        if not is_left_behind():
            logger.warning(
                "lost the connection %s to %s%s",
                self._name,
                self.endpoint,
                f": {wire.reason}" if wire.reason else "",
            )
        self._relogin.lost()
        if self._loop is not None:
            self._connecting = self._loop.create_task(self._reconnect())
        for callback in self.on_lost:
            callback()

    async def _reconnect(self) -> None:
        """Try until it works: at once first, then with growing, jittered waits."""
        while True:
            if self._tries:
                await asyncio.sleep(self._settings.backoff.wait(self._tries))
            else:
                # Many links are lost together, and must not all come back in one moment.
                await asyncio.sleep(dice.random() * 0.003)
            self._tries += 1
            try:
                wire, generation = await self._connect()
            except Exception as error:  # any, as what answers there may not even speak RESP
                if str(error) != str(self._backlog.reason) and not is_left_behind():
                    logger.warning("no connection %s yet: %s", self._name, error)
                self._backlog.reason = error
                continue
            logger.info("connection %s to %s is back", self._name, self.endpoint)
            self._connecting = None
            self._adopt(wire, generation)
            return

    def _look(self) -> None:
        """Every half second: end calls that are overdue, and find a silent server."""
        loop = self._loop
        if loop is None:
            return
        self._next_look = loop.call_later(INTERVAL, self._look)
        self._backlog.expire()
        if self._wire is not None:
            slack = SLOW_LOGIN if self._relogin.is_under_way else 0.0
            self._watch.look(self._wire, self.endpoint, loop.time(), slack=slack)
