"""ThreadLink: a blocking connection for one thread, independent of the event loop."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import hiredis

from castwork.model.errors import EffectUnknown, ServerRefused
from castwork.redis.address import Endpoint, Target
from castwork.redis.handshake import Greeting, keep_alive, unreachable
from castwork.redis.login import SLOW_LOGIN, Login
from castwork.redis.replies import CannotServe, error_of

logger = logging.getLogger(__name__)

_PENDING = object()


class ThreadLink:
    """Sends one command at a time and waits for its reply.

    It connects when needed and never sends a command twice: after an error of the connection the
    next call connects anew. When the login was renewed it logs in again before the next command.

    Args:
        find: tells where the server is, from any thread; asked at each connect.
        login: whom to log in.
        target: TLS and the database.
        name: shown by CLIENT LIST.
        timeout: seconds for connecting, and for each reply but that to a token as the login, which
            the server may have to ask others about.
    """

    def __init__(
        self,
        find: Callable[[], Endpoint],
        login: Login,
        *,
        target: Target,
        name: str,
        timeout: float,
    ) -> None:
        self._find = find
        self._login = login
        self._target = target
        self._name = name
        self._timeout = timeout
        self._endpoint = Endpoint()
        self._generation = 0
        #: When a newer login may be sent, as a refused one is not sent at each call.
        self._next_login = 0.0
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader()

    def call(self, *command: Any) -> Any:
        """Send a command and return its reply.

        Raises:
            ServerUnavailable: no connection; nothing was done.
            AuthenticationFailed, ServerUnsupported: as `Link.open`.
            EffectUnknown: no reply in time, or the connection broke; the command may have run.
            ServerRefused: the server answered with an error; `NoScript` among others.
        """
        sock = self._socket or self._connect()
        try:
            reply = self._ask(sock, [command])[0]
        except (OSError, hiredis.ProtocolError) as error:
            self.close()
            raise EffectUnknown(
                f"no reply from {self._endpoint}: {error}; the command may have run"
            ) from error
        except BaseException:
            self.close()
            raise
        if isinstance(reply, CannotServe):
            self.close()  # the next call may find another server
        elif self._generation != self._login.generation and time.monotonic() >= self._next_login:
            self._log_in_again(sock)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def limit(self, timeout: float) -> None:
        """Set the seconds for connecting, and for each reply, from the next call on."""
        self._timeout = timeout
        if self._socket is not None:
            self._socket.settimeout(timeout)

    def close(self) -> None:
        """Close the socket; the next call would open another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        self._endpoint = self._find()
        try:
            sock = self._socket = self._dial(self._endpoint)
            self._reader = hiredis.Reader(replyError=error_of, notEnoughData=_PENDING)
            generation, credentials = self._login.current
            greeting = Greeting(self._target, credentials, self._name)
            if self._login.is_renewed:
                sock.settimeout(max(self._timeout, SLOW_LOGIN))
            greeting.check(self._ask(sock, greeting.commands()), self._endpoint)
            sock.settimeout(self._timeout)
        except (OSError, hiredis.ProtocolError, ServerRefused) as error:
            self.close()
            is_tls = self._target.tls is not None
            raise unreachable(self._endpoint, error, tls=is_tls) from error
        except BaseException:
            self.close()
            raise
        self._generation, self._next_login = generation, 0.0
        return sock

    def _dial(self, endpoint: Endpoint) -> socket.socket:
        if endpoint.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(self._timeout)
        else:
            sock = socket.create_connection((endpoint.host, endpoint.port), self._timeout)
        try:
            if endpoint.path:
                sock.connect(endpoint.path)
                return sock
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            tls = self._target.tls
            return sock if tls is None else tls.wrap_socket(sock, server_hostname=endpoint.host)
        except BaseException:
            sock.close()
            raise

    def _log_in_again(self, sock: socket.socket) -> None:
        """Send the newest login; where it is refused the connection keeps its old login.

        It comes after the command: a server may take many seconds for it, and what the thread has
        to say, such as that a lease goes on, cannot wait. The old login is still good.
        """
        generation, credentials = self._login.current
        if credentials is None:
            return
        command = ("AUTH", credentials.user or "default", credentials.password)
        try:
            sock.settimeout(max(self._timeout, SLOW_LOGIN))
            refusal = self._ask(sock, [command])[0]
            sock.settimeout(self._timeout)
        except (OSError, hiredis.ProtocolError) as error:
            self.close()
            logger.warning("connection %s was lost at its login: %s", self._name, error)
            return
        if isinstance(refusal, Exception):
            self._next_login = time.monotonic() + self._login.retry_after
            logger.warning("connection %s keeps its old login: %s", self._name, refusal)
        else:
            self._generation = generation

    def _ask(self, sock: socket.socket, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one write; return their replies, and errors among them."""
        sock.sendall(b"".join(map(hiredis.pack_command, commands)))
        answers: list[Any] = []
        while len(answers) < len(commands):
            reply = self._reader.gets()
            if reply is _PENDING:
                received = sock.recv(65536)
                if not received:
                    raise ConnectionResetError("the connection was closed")
                self._reader.feed(received)
            elif type(reply) is not hiredis.PushNotification:
                answers.append(reply)
        return answers
