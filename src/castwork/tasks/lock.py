"""Lock: one holder at a time in the fleet, by a lease that is renewed off the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from types import TracebackType
from typing import Self

from castwork.model.errors import LeaseLost, LockTimeout, NotOpen
from castwork.model.ids import new_id
from castwork.model.option_values import Seconds, patience
from castwork.redis.connections import Connections
from castwork.redis.portal import portal
from castwork.store.locks import Locks

logger = logging.getLogger(__name__)

#: Seconds that a lease lasts without renewal, and between renewals.
_LEASE, _RENEWAL = 15.0, 5.0

#: Seconds after which who waits looks again, as the message that the lock is free may be lost.
_LOOK = 2.0


class Lock:
    """A lock, to be held in a `with` or `async with` block, once at a time.

    The holder's process keeps it by a lease of 15 s, which a thread renews: also while the event
    loop is blocked. A holder that dies frees it within a lease. A holder that cannot reach the
    server for a lease has lost it: a coroutine is cancelled then, and the block raises `LeaseLost`;
    a thread asks `check()`. Give `fence` to what you write to, so that it can refuse a late holder
    (https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).

    Args:
        connections: the way to the server.
        namespace: the app's namespace.
        name: the lock's name.
        timeout: seconds to wait for the lock; None for no bound.
    """

    def __init__(
        self, connections: Connections, namespace: str, name: str, timeout: Seconds | None
    ) -> None:
        self.name = name
        self._connections = connections
        self._namespace = namespace
        self._timeout = patience("timeout", timeout)
        self._fence = 0
        self._held: _Held | None = None

    def __repr__(self) -> str:
        return f"Lock({self.name!r})"

    @property
    def fence(self) -> int:
        """A number that is greater for each later holder.

        Raises:
            NotOpen: the lock is not held.
        """
        if self._held is None:
            raise NotOpen(f"lock {self.name!r} is not held: use it in a with block")
        return self._fence

    def check(self) -> None:
        """Raise LeaseLost once the lock is lost, for code in threads, which nothing interrupts."""
        if self._held is not None and self._held.is_lost:
            raise LeaseLost(f"lock {self.name!r} was lost: another may have it now")

    async def __aenter__(self) -> Self:
        await self._enter(self._connections, asyncio.current_task())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        task = asyncio.current_task()
        await self._leave()
        if self._was_lost and isinstance(error, asyncio.CancelledError) and task is not None:
            task.uncancel()
        self._raise_if_lost(error)

    def __enter__(self) -> Self:
        portal.run("lock", lambda: self._enter(self._connections.twin, None))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        portal.run("lock", self._leave)
        self._raise_if_lost(error)

    async def _enter(self, connections: Connections, owner: asyncio.Task[object] | None) -> None:
        if self._held is not None:
            raise NotOpen(f"lock {self.name!r} is held here already: make another with app.lock")
        locks, token = Locks(connections, self._namespace, self.name), new_id()
        try:
            async with asyncio.timeout(self._timeout):
                self._fence = await _wait_for(locks, token)
        except TimeoutError:
            raise LockTimeout(
                f"lock {self.name!r} was not free within {self._timeout:g} s"
            ) from None
        self._was_lost = False
        self._held = _Held(locks, token, owner)
        self._held.start()

    async def _leave(self) -> None:
        held, self._held = self._held, None
        assert held is not None
        held.stop()
        self._was_lost = held.is_lost
        if not held.is_lost:
            self._was_lost = not await held.locks.give_back(held.token)

    def _raise_if_lost(self, error: BaseException | None) -> None:
        if self._was_lost and (error is None or isinstance(error, asyncio.CancelledError)):
            raise LeaseLost(f"lock {self.name!r} was lost: another may have had it") from error


class _Free:
    """Hears that a lock was given back."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        self.heard.set()

    def on_resumed(self) -> None:
        self.heard.set()


async def _wait_for(locks: Locks, token: str) -> int:
    """Wait until the lock is ours; its fence."""
    taken = await locks.take(token, int(_LEASE * 1000))
    if taken.fence:
        return taken.fence
    free = _Free()
    await locks.hear(free)
    try:
        while not taken.fence:
            try:
                async with asyncio.timeout(min(_LOOK, taken.left + 0.01)):
                    await free.heard.wait()
            except TimeoutError:
                pass
            free.heard.clear()
            taken = await locks.take(token, int(_LEASE * 1000))
    except BaseException:
        if taken.fence:
            await locks.give_back(token)
        raise
    finally:
        locks.unhear(free)
    return taken.fence


class _Held:
    """A lock that is held, with the thread that renews its lease."""

    def __init__(self, locks: Locks, token: str, owner: asyncio.Task[object] | None) -> None:
        self.locks = locks
        self.token = token
        self.is_lost = False
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._link = locks.connections.thread_link(locks.slot, _RENEWAL, name="lock")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="castwork-lock", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()

    def _run(self) -> None:
        ends = time.monotonic() + _LEASE
        wait = _RENEWAL
        while not self._stop.wait(wait):
            began, wait = time.monotonic(), 0.5
            try:
                if not self.locks.renew(self._link, self.token, int(_LEASE * 1000)):
                    break
                ends, wait = began + _LEASE, _RENEWAL
            except Exception as error:
                logger.warning("the lease of a lock was not renewed: %s", error)
                if time.monotonic() > ends:
                    break
        self._link.close()
        if not self._stop.is_set():
            self.is_lost = True
            if self._owner is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._owner.cancel)
