"""The connections of one process: for commands, for pushes, and more for its workers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from castwork.model.credentials import Credentials, CredentialSource
from castwork.model.errors import NotOpen
from castwork.model.ids import process_id
from castwork.model.settings import LinkSettings
from castwork.redis.address import Target, parse_url
from castwork.redis.link import Link
from castwork.redis.login import Login
from castwork.redis.portal import portal
from castwork.redis.pushes import Pushes
from castwork.redis.server import Needs, ServerInfo, judge_server, read_server
from castwork.redis.thread_link import ThreadLink
from castwork.redis.threads import in_thread
from castwork.redis.topology import Topology, open_topology

logger = logging.getLogger(__name__)

_making_twins = threading.Lock()


class Connections:
    """Opens on first use and belongs to the event loop that opened it.

    Args:
        find_url: returns the server's URL; called in a thread, as it may start the embedded
            server.
        settings: timeouts.
        credentials: gives and renews the login where the URL has none, and names no Unix socket.
        needs: what is asked of the server, known when the connections open.

    Attributes:
        member: the id of this process among those that share the namespace.
        pushes: the subscriptions.
        server: what the server is, None where its ACL hides the facts.
    """

    def __init__(
        self,
        find_url: Callable[[], str],
        settings: LinkSettings,
        *,
        credentials: CredentialSource | None = None,
        needs: Callable[[], Needs] = Needs,
    ) -> None:
        self._needs = needs
        self._find_url = find_url
        self._settings = settings
        self._source = credentials
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Future[None] | None = None
        self._ready: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._workers = 0
        self._target = Target()
        self._login: Login
        self._topology: Topology | None = None
        self._twin: Connections | None = None
        self.member = ""
        self.pushes: Pushes
        self.server: ServerInfo | None = None

    @property
    def twin(self) -> Connections:
        """Connections to the same server for the portal, where the twins ending in `_sync` run."""
        with _making_twins:
            if self._twin is None:
                self._twin = Connections(
                    self._find_url, self._settings, credentials=self._source, needs=self._needs
                )
            return self._twin

    @property
    def is_open(self) -> bool:
        """Whether the connections serve the running event loop."""
        return self._ready is asyncio.get_running_loop()

    @property
    def address(self) -> str:
        """Where the server is, for people; without the password."""
        return str(self._target)

    @property
    def target(self) -> Target:
        """What the URL says; neither `str` nor `repr` shows the password."""
        return self._target

    @property
    def database(self) -> int:
        """The number of the database."""
        return self._target.database

    @property
    def joins_slots(self) -> bool:
        """Whether one command may name keys of several slots."""
        return self._opened.joins_slots

    @property
    def _opened(self) -> Topology:
        if self._topology is None:
            raise NotOpen("the connections are not open: use the app inside `async with app`")
        return self._topology

    async def open(self, *, accept_unfit: bool = False) -> None:
        """Open, if not open yet.

        Args:
            accept_unfit: open also where the server would lose tasks, to look at it.

        Raises:
            ServerUnavailable, AuthenticationFailed, ServerUnsupported: see `Link.open`.
            NotOpen: another event loop uses this app, or it was closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._pid != os.getpid():
            if self._loop is not None and self._loop.is_running() and self._pid == os.getpid():
                raise NotOpen(
                    "this app is open in another event loop: from other threads and loops use the"
                    " twins ending in _sync, as enqueue_sync and publish_sync, or make an App for"
                    " this loop"
                )
            self._loop, self._pid = loop, os.getpid()
            self._opening = self._ready = None
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open(accept_unfit))
        opening = self._opening
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled() and not _is_cancelled():
                raise NotOpen("the connections were closed while they opened") from None
            raise
        except BaseException:
            if self._opening is opening:  # else another caller has begun to open anew
                self._loop = self._opening = None
            raise

    async def _open(self, accept_unfit: bool) -> None:
        self._target = target = parse_url(await in_thread(self._find_url, name="castwork-url"))
        self.member = process_id(socket.gethostname())
        self._workers = 0
        self._login = self._make_login(target)
        topology = open_topology(target, self._settings, self._login)
        self.pushes = Pushes(
            lambda: topology.find(None),
            self._settings,
            self._login,
            target=target,
            name="castwork-pushes",
        )
        async with AsyncExitStack() as opened:
            opened.callback(self._login.close)
            await topology.open()
            opened.push_async_callback(topology.close)
            for link in topology.links():
                self.server = await read_server(link)
                if not accept_unfit:
                    judge_server(self.server, link.endpoint, self._needs())
            await self.pushes.open()
            opened.pop_all()
        self._topology = topology
        self._ready = self._loop

    def _make_login(self, target: Target) -> Login:
        if target.password is not None:
            return Login(Credentials(target.username, target.password))
        if self._source is None or target.is_private:
            return Login()
        if target.tls is None and not target.is_loopback:
            logger.warning("the login goes to %s in plain text: use rediss://", target)
        return Login(source=self._source)

    def link_for(self, slot: int) -> Link:
        """The shared link to the server that has a slot."""
        return self._opened.link_for(slot)

    def links(self) -> Sequence[Link]:
        """The shared links, one for each server."""
        return self._opened.links()

    async def dedicated(self, slot: int, name: str, *, patience: float) -> Link:
        """Open one more link to the server that has a slot, for the caller to close.

        Args:
            slot: the slot; the link follows it.
            name: shown by CLIENT LIST behind `castwork-`.
            patience: seconds that the link's reads may block.

        Raises what `Link.open` raises.
        """
        return await self._opened.dedicated(slot, f"castwork-{name}", patience=patience)

    def thread_link(self, slot: int, timeout: float, *, name: str = "lease") -> ThreadLink:
        """A blocking connection for one thread, to the server that has a slot.

        The connection opens on its first call, and is for the caller to close.

        Args:
            slot: the slot; looked up at each connect.
            timeout: seconds for connecting, and for each reply.
            name: shown by CLIENT LIST behind `castwork-`.
        """
        topology = self._opened
        return ThreadLink(
            lambda: topology.endpoint_of(slot),
            self._login,
            target=self._target,
            name=f"castwork-{name}",
            timeout=timeout,
        )

    def new_worker_id(self) -> str:
        """An id for a worker of this process: the first worker has the id of the process."""
        self._workers += 1
        return self.member if self._workers == 1 else f"{self.member}.{self._workers}"

    async def close(self) -> None:
        """Close all, the twin's too; opening again is possible."""
        twin, self._twin = self._twin, None
        if twin is not None and twin._pid == os.getpid():
            await portal.aside(twin.close)
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
        # The links for commands first, so that listeners which look again see that they are closed.
        await self._opened.close()
        await self.pushes.close()
        self._login.close()


def _is_cancelled() -> bool:
    """Whether the running asyncio task itself is cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
