"""RenewalConnection: the lease thread's own, blocking connection."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from castwork.redis.address import Address
from castwork.redis.scripts import RENEW


class RenewalConnection:
    """Runs the renew script from a thread. It connects when needed, and retries nothing itself.

    Args:
        timeout: seconds for connecting and for a reply.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
        options: dict[str, Any] = {
            "db": address.database,
            "username": address.username,
            "password": address.password,
            "socket_timeout": timeout,
            "client_name": "castwork-lease",
            "retry": Retry(NoBackoff(), 0),
        }
        if address.path:
            options["unix_socket_path"] = address.path
            pool = redis.ConnectionPool(
                connection_class=redis.UnixDomainSocketConnection,
                path=options.pop("unix_socket_path"),
                **options,
            )
        else:
            options.update(host=address.host, port=address.port, socket_connect_timeout=timeout)
            kind: Any = redis.Connection
            if address.tls is not None:
                kind = _tls_connection(address)
            pool = redis.ConnectionPool(connection_class=kind, **options)
        self._redis = redis.Redis(connection_pool=pool)

    def renew(self, streams: list[str], args: list[Any]) -> list[int]:
        """Run the renew script; return the positions (from 1) of lost leases."""
        try:
            reply = self._redis.evalsha(RENEW.sha, len(streams), *streams, *args)
        except redis.exceptions.NoScriptError:
            reply = self._redis.eval(RENEW.source, len(streams), *streams, *args)
        return list(reply)

    def close(self) -> None:
        """Close the socket."""
        self._redis.connection_pool.disconnect()


def _tls_connection(address: Address) -> type[redis.Connection]:
    """A connection class that wraps its socket with the address's TLS context."""
    context: Any = address.tls

    class TLSConnection(redis.Connection):
        def _connect(self) -> Any:
            plain = super()._connect()  # type: ignore[no-untyped-call]
            return context.wrap_socket(plain, server_hostname=address.host)

    return TLSConnection
