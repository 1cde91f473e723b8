"""The connections of one process: commands, pushes, and blocking reads where there are workers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from castwork.model.errors import NotOpen
from castwork.model.ids import process_id
from castwork.model.settings import LinkSettings
from castwork.redis.address import Address, parse_url
from castwork.redis.link import Link
from castwork.redis.pushes import Pushes
from castwork.redis.scripts import Scripts
from castwork.redis.server import ServerInfo, check_server


class Connections:
    """Opens on first use and belongs to the event loop that opened it.

    Args:
        find_url: returns the server's URL; may start the embedded server, so it runs in a
            thread.
        settings: timeouts.
    """

    def __init__(self, find_url: Callable[[], str], settings: LinkSettings) -> None:
        self._find_url = find_url
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Future[None] | None = None
        self._ready: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._workers = 0
        self.member = ""
        self.commands: Link
        self.pushes: Pushes
        self.scripts: Scripts
        self.address: Address
        self.server: ServerInfo | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connections serve the running event loop."""
        return self._ready is asyncio.get_running_loop()

    async def open(self) -> None:
        """Open, if not open yet.

        Raises:
            ServerUnavailable, AuthenticationFailed, ServerUnsupported: see `Link.open`.
            NotOpen: another event loop uses this app; `enqueue_sync` works from anywhere.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._pid != os.getpid():
            if self._loop is not None and self._loop.is_running() and self._pid == os.getpid():
                raise NotOpen(
                    "this app is open in another event loop: use enqueue_sync from other"
                    " threads, or one App per loop"
                )
            self._loop, self._pid = loop, os.getpid()
            self._opening = self._ready = None
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        try:
            await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._loop = self._opening = None
            raise

    async def _open(self) -> None:
        self.address = parse_url(await asyncio.to_thread(self._find_url))
        host = socket.gethostname()
        self.member = process_id(host)
        self._workers = 0
        self.commands = Link(self.address, self._settings, name="castwork-commands")
        self.pushes = Pushes(self.address, self._settings, name="castwork-pushes")
        self.scripts = Scripts(self.commands)
        await self.commands.open()
        try:
            self.server = await check_server(self.commands)
            await self.pushes.open()
        except BaseException:
            await self.commands.close()
            raise
        self._ready = self._loop

    async def blocking_link(self, name: str, *, patience: float) -> Link:
        """Open one more link, for reads that block up to `patience` seconds."""
        link = Link(self.address, self._settings, name=f"castwork-{name}", patience=patience)
        await link.open()
        return link

    def new_worker_id(self) -> str:
        """An id for a worker of this process: the process's own for the first one."""
        self._workers += 1
        return self.member if self._workers == 1 else f"{self.member}.{self._workers}"

    async def close(self) -> None:
        """Close all; opening again is possible."""
        opening = self._opening
        self._opening = self._loop = self._ready = None
        if opening is None:
            return
        if not opening.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            return
        if opening.cancelled() or opening.exception() is not None:
            return
        await self.commands.close()  # first, so that listeners which look again see it closed
        await self.pushes.close()
