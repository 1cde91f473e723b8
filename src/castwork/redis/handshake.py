"""From an address to a connection that is ready: socket, TLS, RESP3, login, name, database."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any
from urllib.parse import quote

import hiredis
import msgspec

from castwork.model.credentials import Credentials
from castwork.model.errors import (
    AuthenticationFailed,
    CastworkError,
    ServerRefused,
    ServerUnavailable,
    ServerUnsupported,
)
from castwork.redis.address import Endpoint, Target
from castwork.redis.replies import CannotServe
from castwork.redis.wire import Call, Wire

#: The characters that CLIENT SETNAME takes, without `%`, which begins an escape.
_PLAIN = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


class Greeting(msgspec.Struct, frozen=True):
    """What a connection says about itself first.

    Attributes:
        target: the TLS context and the database.
        credentials: whom to log in, None for nobody.
        name: shown by CLIENT LIST.
    """

    target: Target
    credentials: Credentials | None
    name: str

    def commands(self) -> list[tuple[Any, ...]]:
        """HELLO, the name, and the database where it is not the first."""
        hello: tuple[Any, ...] = ("HELLO", 3)
        if self.credentials is not None:
            hello += ("AUTH", self.credentials.user or "default", self.credentials.password)
        commands: list[tuple[Any, ...]] = [hello]
        commands.append(("CLIENT", "SETNAME", quote(self.name, safe=_PLAIN)))
        if self.target.database:
            commands.append(("SELECT", self.target.database))
        return commands

    def check(self, answers: list[Any], endpoint: Endpoint) -> dict[bytes, Any]:
        """Return the reply to HELLO.

        Raises:
            AuthenticationFailed: the login is refused.
            ServerUnsupported: the server knows no HELLO, or has no such database.
            ConnectionFailed, ServerRefused: any other error among the answers.
        """
        hello, named, *selected = answers
        if isinstance(hello, AuthenticationFailed):
            if str(hello).startswith("NOAUTH"):
                raise AuthenticationFailed(
                    f"{endpoint} wants a login (NOAUTH): put it into the URL, as in"
                    " redis://:PASSWORD@HOST:PORT, by CASTWORK_URL or CASTWORK_URL_FILE"
                ) from hello
            raise AuthenticationFailed(f"{endpoint} refused the login: {hello}") from hello
        if isinstance(hello, ServerRefused) and "unknown command" in str(hello).lower():
            raise ServerUnsupported(
                f"the server at {endpoint} does not know HELLO: Redis 6.2 or newer, or Valkey,"
                " is needed"
            ) from hello
        if isinstance(hello, BaseException):
            raise hello
        # A refused name is no reason to fail: the name is only for people who read CLIENT LIST.
        if isinstance(named, BaseException) and _says_more(named):
            raise named
        if selected and isinstance(refusal := selected[0], BaseException):
            if _says_more(refusal):
                raise refusal
            raise self._no_database(refusal, endpoint, hello) from refusal
        return dict(hello)

    def _no_database(
        self, refusal: BaseException, endpoint: Endpoint, hello: dict[bytes, Any]
    ) -> CastworkError:
        number = self.target.database
        if isinstance(refusal, AuthenticationFailed):
            return AuthenticationFailed(f"{endpoint} refused database {number}: {refusal}")
        if hello.get(b"mode") == b"cluster":
            return ServerUnsupported(
                f"{endpoint} is a node of a cluster, which has database 0 only: take the"
                f" /{number} out of the URL and keep apps apart by their namespaces"
            )
        return ServerUnsupported(f"{endpoint} refused database {number}: {refusal}")


def _says_more(error: BaseException) -> bool:
    """Whether an error is about the whole connection, and not about its command."""
    refused = isinstance(error, (ServerRefused, AuthenticationFailed))
    return not refused or isinstance(error, CannotServe)


async def connect(wire: Wire, endpoint: Endpoint, greeting: Greeting) -> dict[bytes, Any]:
    """Open a connection under a wire and greet; return the reply to HELLO.

    Raises:
        OSError: there is no connection.
        CastworkError: what `Greeting.check` raises.
    """
    loop = asyncio.get_running_loop()
    if endpoint.path:
        await loop.create_unix_connection(lambda: wire, endpoint.path)
    else:
        transport, _ = await loop.create_connection(
            lambda: wire, endpoint.host, endpoint.port, ssl=greeting.target.tls
        )
        keep_alive(transport.get_extra_info("socket"))
    replies: list[asyncio.Future[Any]] = []
    for command in greeting.commands():
        reply: asyncio.Future[Any] = loop.create_future()
        wire.send(Call(reply, hiredis.pack_command(command), 0.0, False))
        replies.append(reply)
    if wire.is_closed:
        raise ConnectionResetError(wire.reason or "the connection was closed at once")
    answers = await asyncio.gather(*replies, return_exceptions=True)
    hello = greeting.check(answers, endpoint)
    if wire.is_closed:
        raise ConnectionResetError(wire.reason or "the connection was closed at once")
    return hello


def unreachable(endpoint: object, error: BaseException, *, tls: bool) -> ServerUnavailable:
    """The error for a connection that did not come about.

    Args:
        endpoint: where the server should be.
        error: what failed.
        tls: whether the connection was one with TLS.
    """
    reason = str(error) or "no answer in time"
    return ServerUnavailable(f"no Redis or Valkey at {endpoint}: {reason}{_advice(error, tls)}")


def _advice(error: BaseException, tls: bool) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            ": use the host name that the certificate has; where its authority is your own, name"
            " the file of that authority in the URL: ?ssl_ca_certs=FILE"
        )
    if tls and isinstance(error, TimeoutError):
        return "; a port without TLS does not answer to rediss://"
    if not tls and isinstance(error, ConnectionResetError):
        return "; a port with TLS wants rediss://"
    return ""


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel notice a dead peer within seconds, not its default of 15 minutes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
