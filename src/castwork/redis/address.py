"""Addresses and logins of servers, read from URLs."""

from __future__ import annotations

import re
import ssl
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from castwork.model.errors import DefinitionError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Endpoint(msgspec.Struct, frozen=True):
    """The address of one server, and nothing else: safe to print.

    Attributes:
        host: host name or IP address; empty for a Unix socket.
        port: TCP port.
        path: path of the Unix socket; empty for TCP.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Target(msgspec.Struct, frozen=True):
    """What a URL says. Neither `str` nor `repr` shows the password.

    Attributes:
        kind: how the servers behind the seeds are found.
        seeds: addresses to begin with.
        database: number of the database.
        tls: TLS context, None for plain text.
        username: ACL user, None for the default one.
        password: the user's password, None for none.
    """

    kind: Literal["single"] = "single"
    seeds: tuple[Endpoint, ...] = (Endpoint(),)
    database: int = 0
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None

    @property
    def is_private(self) -> bool:
        """Whether only this machine's programs can reach the servers, as the embedded one."""
        return all(seed.path for seed in self.seeds)

    @property
    def is_loopback(self) -> bool:
        """Whether what is said to the servers stays on this machine."""
        return all(seed.path or seed.host in _LOOPBACK for seed in self.seeds)

    def __repr__(self) -> str:
        return f"Target({self})"

    def __str__(self) -> str:
        return ",".join(map(str, self.seeds))


_TLS_PARAMETERS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)


def parse_url(url: str) -> Target:
    """Parse `redis://`, `rediss://` (TLS) or `unix://` URLs; `valkey` says the same as `redis`.

    The form is that of redis-py: `redis://[user:password@]host[:port][/database]` and
    `unix:///path/to/socket?db=0`. With `rediss://` the parameters `ssl_ca_certs`,
    `ssl_certfile`, `ssl_keyfile` name files, and `ssl_cert_reqs=none` turns the check of the
    server's certificate off.

    Raises:
        DefinitionError: the URL has another scheme or does not parse. No password is shown.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # not chained: the error's text may quote the password
        raise _refused(url, "host or port cannot be read") from None
    if _is_login_cut(parts):
        raise _refused(url, "a login's / # ? @ must be written %2F %23 %3F %40")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    username = unquote(parts.username) if parts.username else query.get("username")
    password = unquote(parts.password) if parts.password else query.get("password")
    if parts.scheme == "unix":
        endpoint = Endpoint("", path=unquote(parts.path))
        database = query.get("db", "0")
    elif parts.scheme in ("redis", "rediss", "valkey", "valkeys"):
        endpoint = Endpoint(parts.hostname or "127.0.0.1", port or 6379)
        database = parts.path.strip("/") or query.get("db", "0")
    else:
        raise _refused(url, "use redis://, rediss://, unix:// or embedded://")
    if not re.fullmatch(r"[0-9]{1,9}", database):
        raise _refused(url, "the database is not a number")
    return Target(
        seeds=(endpoint,),
        database=int(database),
        tls=_tls(url, parts, query),
        username=username,
        password=password,
    )


def _is_login_cut(parts: SplitResult) -> bool:
    """Whether what a login holds ended the host too early, so that a part of it were the host.

    Then the password would be looked up as a name, and shown in messages.
    """
    logins = r"(^|&)(username|password)=[^&]*"
    return bool(parts.fragment) or (
        parts.scheme != "unix" and "@" in parts.path + re.sub(logins, "", parts.query)
    )


def _tls(url: str, parts: SplitResult, query: dict[str, str]) -> ssl.SSLContext | None:
    if parts.scheme not in ("rediss", "valkeys"):
        return None
    # A misspelt one would leave a check out, or have a certificate of one's own refused.
    for name in query:
        if name.startswith("ssl_") and name not in _TLS_PARAMETERS:
            known = ", ".join(_TLS_PARAMETERS)
            raise _refused(url, f"no parameter is named {name}; there are: {known}")
    if query.get("ssl_cert_reqs", "required") not in {"required", "none"}:
        raise _refused(url, "ssl_cert_reqs is none or required")
    try:
        context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
        if query.get("ssl_certfile"):
            context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"))
    except OSError as error:
        raise _refused(url, f"a certificate file cannot be read: {error}") from error
    if query.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
        context.check_hostname = False
    if query.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(url: str, reason: str) -> DefinitionError:
    return DefinitionError(f"not a Redis URL: {_without_password(url)!r}: {reason}")


def _without_password(url: str) -> str:
    """Hide everything that may be a login, also where the URL does not parse."""
    login, at, rest = url.rpartition("@")
    if at:
        scheme, slashes, _ = login.partition("//")
        url = f"{scheme if slashes else ''}{slashes}***@{rest}"
    return re.sub(r"(?i)(password=)[^&#]*", r"\1***", url)
