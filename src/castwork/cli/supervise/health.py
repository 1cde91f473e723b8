"""Health: tells probes whether a worker is well, by a port of its own or by the age of a file."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import msgspec

from castwork.cli.supervise.watched import WatchedWorker

logger = logging.getLogger(__name__)

#: Seconds without a sign of life on the server after which a worker is not well.
_SILENT = 15.0

#: Seconds between touches of the file.
_INTERVAL = 1.0

#: Seconds that a probe may take to say what it wants.
_PATIENCE = 5.0


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a worker tells whether it is well.

    Attributes:
        port: answers HTTP with 200 or 503; None for no port.
        file: touched each second while all is well; None for no file.
        host: address of the port.
    """

    port: int | None = None
    file: str | None = None
    host: str = "0.0.0.0"


async def tell_health(health: Health, worker: WatchedWorker) -> None:
    """Tell until cancelled.

    Raises:
        OSError: the port is taken, or the file cannot be written.
    """
    try:
        async with asyncio.TaskGroup() as both:
            if health.port is not None:
                both.create_task(_serve(health.host, health.port, worker))
            if health.file is not None:
                both.create_task(_touch(Path(health.file), worker))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def _ill(worker: WatchedWorker) -> str:
    """What is wrong with a worker, empty for nothing."""
    if not worker.started.is_set():
        return "it has not begun to claim tasks"
    if worker.silent_for > _SILENT:
        return f"no sign of life reached the server for {worker.silent_for:.0f} s"
    return ""


async def _touch(file: Path, worker: WatchedWorker) -> None:
    while True:
        if not _ill(worker):
            await asyncio.to_thread(file.touch)
        await asyncio.sleep(_INTERVAL)


async def _serve(host: str, port: int, worker: WatchedWorker) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_PATIENCE):
                while (await reader.readline()).strip():
                    pass
                ill = _ill(worker)
                status = "503 Service Unavailable" if ill else "200 OK"
                body = (ill or "ok") + "\n"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port, limit=8192)
    logger.info("health is told at port %d", server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()
