"""Listening sockets."""

from __future__ import annotations

import errno
import socket

from castwork.cli.failure import Failure


def listen_on(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        Failure: the port is in use, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, backlog=2048)
        # Wrapped anew, so that the socket knows its protocol: asyncio turns Nagle's algorithm off
        # for connections whose listener says TCP, and create_server leaves the protocol open.
        return socket.socket(fileno=made.detach())
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f"port {port} on {host} is in use: stop what uses it, or choose another with --port"
            ) from None
        raise Failure(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    except OverflowError:
        raise Failure(f"cannot listen on {host}:{port}: ports go up to 65535") from None


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket as a URL that a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
