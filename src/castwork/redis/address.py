"""Where a server is: URLs to addresses."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from castwork.model.errors import DefinitionError


class Address(msgspec.Struct, frozen=True):
    """A server's address and how to log in.

    Attributes:
        host: host name or IP address; empty for a Unix socket.
        port: TCP port.
        path: path of the Unix socket; empty for TCP.
        database: number of the database.
        username: ACL user, None for the default one.
        password: its password, None for none.
        tls: TLS context, None for plain text.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Address({self})"  # no password

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """Parse `redis://`, `rediss://` (TLS) or `unix://` URLs.

    The form is that of redis-py: `redis://[user:password@]host[:port][/database]` and
    `unix:///path/to/socket?db=0`. With `rediss://` the parameters `ssl_ca_certs`,
    `ssl_certfile`, `ssl_keyfile` name files, and `ssl_cert_reqs=none` turns the check of the
    server's certificate off.

    Raises:
        DefinitionError: the URL has another scheme or does not parse.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise DefinitionError(f"not a Redis URL: {error}") from error
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    login: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else query.get("username"),
        "password": unquote(parts.password) if parts.password else query.get("password"),
    }
    try:
        if parts.scheme == "unix":
            path = unquote(parts.path)
            return Address(host="", path=path, database=int(query.get("db", "0")), **login)
        if parts.scheme in ("redis", "rediss", "valkey", "valkeys"):
            return Address(
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 6379,
                database=int(parts.path.strip("/") or query.get("db", "0")),
                tls=_tls(query) if parts.scheme in ("rediss", "valkeys") else None,
                **login,
            )
    except (ValueError, OSError) as error:  # OSError: a certificate file that cannot be read
        raise DefinitionError(f"not a Redis URL: {_without_password(url)!r}: {error}") from error
    raise DefinitionError(
        f"not a Redis URL: {_without_password(url)!r}: use redis://, rediss://, unix://"
        " or embedded://"
    )


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
    if query.get("ssl_certfile"):
        context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"))
    if query.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
        context.check_hostname = False
    if query.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)
