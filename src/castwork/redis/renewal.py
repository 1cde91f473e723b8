"""RenewalConnection: the lease thread's own, blocking connection."""

from __future__ import annotations

import socket
from typing import Any

import hiredis

from castwork.redis.address import Address
from castwork.redis.replies import NoScript, error_of
from castwork.redis.scripts import RENEW

_PENDING = object()


class RenewalConnection:
    """Runs the renew script from a thread, where the event loop cannot hold it up.

    It connects when needed and repeats nothing: after an error the next call connects anew.

    Args:
        timeout: seconds for connecting, and for each reply.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader()

    def renew(self, stream: str, args: list[Any]) -> list[int]:
        """Run the renew script; return the positions (from 1) of lost leases.

        Raises:
            OSError: no connection, or no reply in time.
            CastworkError: the server refused.
        """
        try:
            if self._socket is None:
                self._connect()
            try:
                reply = self._call("EVALSHA", RENEW.sha, 1, stream, *args)
            except NoScript:
                reply = self._call("EVAL", RENEW.source, 1, stream, *args)
        except BaseException:
            self.close()
            raise
        return list(reply)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        address = self._address
        if address.path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._timeout)
            self._socket.connect(address.path)
        else:
            self._socket = socket.create_connection((address.host, address.port), self._timeout)
        if address.tls is not None:
            self._socket = address.tls.wrap_socket(self._socket, server_hostname=address.host)
        self._reader = hiredis.Reader(replyError=error_of, notEnoughData=_PENDING)
        if address.password is not None:
            self._call("AUTH", address.username or "default", address.password)
        self._call("CLIENT", "SETNAME", "castwork-lease")
        if address.database:
            self._call("SELECT", address.database)

    def _call(self, *command: Any) -> Any:
        assert self._socket is not None
        self._socket.sendall(hiredis.pack_command(command))
        while (reply := self._reader.gets()) is _PENDING:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionResetError(f"{self._address} closed the connection")
            self._reader.feed(received)
        if isinstance(reply, Exception):
            raise reply
        return reply
