"""Finding out when the children are ready."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from castwork.app import App
from castwork.cli.supervise.child import Child
from castwork.model.errors import ConnectionFailed

_INTERVAL = 0.05

#: Seconds that a gateway gets for one answer.
_PATIENCE = 5.0


async def wait_for_gateway(listener: socket.socket) -> None:
    """Wait until the gateway says at `/readyz` that it is ready.

    An app of the user's own may not have that route: then any answer below 500 will do.
    """
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while True:
        try:
            async with asyncio.timeout(_PATIENCE):
                status = await _ask(host, port)
        except (OSError, TimeoutError):
            status = 0
        if 0 < status < 500:
            return
        await asyncio.sleep(_INTERVAL)


async def _ask(host: str, port: int) -> int:
    """The status that `/readyz` answers; 0 for no answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: castwork\r\nConnection: close\r\n\r\n")
        words = (await reader.readline()).split()
    finally:
        writer.close()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


async def wait_for_workers(app: App, workers: Sequence[Child]) -> None:
    """Wait until each worker process is in the register of live workers."""
    while True:
        try:
            registered = {info["mark"] for info in await app.workers()}
        except ConnectionFailed:
            registered = set()
        if all(worker.mark in registered for worker in workers):
            return
        await asyncio.sleep(_INTERVAL)
