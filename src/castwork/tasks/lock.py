"""Lock: one holder at a time in the fleet, by a lease that is renewed off the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from castwork.model.errors import LeaseLost, LockTimeout, NotOpen, ServerError
from castwork.model.ids import new_id
from castwork.model.option_values import Seconds, patience
from castwork.redis.connections import Connections
from castwork.redis.portal import portal
from castwork.store.locks import Locks

logger = logging.getLogger(__name__)

#: Seconds that a lease lasts without renewal, and between renewals.
_LEASE, _RENEWAL = 15.0, 5.0

#: Seconds that a try to renew may take, at least.
_SHORTEST = 0.01

#: Seconds for giving back what who waits no longer may have got.
_GIVING_BACK = 2.0

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
        held = self._held
        assert held is not None
        await self._leave(error)
        if not held.has_cancelled:
            self._raise_if_lost(error)
            return
        if not await held.take_cancel_back(error):
            if not isinstance(error, asyncio.CancelledError):
                raise asyncio.CancelledError  # somebody else has cancelled the task as well
            return
        self._raise_if_lost(None if isinstance(error, asyncio.CancelledError) else error)

    def __enter__(self) -> Self:
        portal.run("lock", lambda: self._enter(self._connections.twin, None))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        portal.run("lock", lambda: self._leave(error))
        self._raise_if_lost(error)

    async def _enter(self, connections: Connections, owner: asyncio.Task[object] | None) -> None:
        if self._held is not None:
            raise NotOpen(f"lock {self.name!r} is held here already: make another with app.lock")
        locks, token = Locks(connections, self._namespace, self.name), new_id()
        try:
            if self._timeout == 0:  # one look, however long the server takes to answer
                taken = await _take(locks, token)
            else:
                async with asyncio.timeout(self._timeout):
                    taken = await _wait_for(locks, token)
        except TimeoutError:
            taken = _NOT_TAKEN
        if not taken.fence:
            raise LockTimeout(f"lock {self.name!r} was not free within {self._timeout:g} s")
        self._fence = taken.fence
        self._was_lost = False
        self._held = _Held(locks, token, owner, taken_at=taken.at)
        self._held.start()

    async def _leave(self, error: BaseException | None) -> None:
        """Give the lock back; what the block raised goes before an error of the server."""
        held, self._held = self._held, None
        assert held is not None
        held.stop()
        self._was_lost = held.is_lost
        if held.is_lost:
            return
        try:
            self._was_lost = not await held.locks.give_back(held.token)
        except (NotOpen, ServerError) as failure:
            if error is None:
                raise
            logger.warning("lock %s is free after its lease: %s", self.name, failure)

    def _raise_if_lost(self, error: BaseException | None) -> None:
        if self._was_lost and error is None:
            raise LeaseLost(f"lock {self.name!r} was lost: another may have had it")


class _Free:
    """Hears that a lock was given back."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        self.heard.set()

    def on_resumed(self) -> None:
        self.heard.set()


class _Answer(NamedTuple):
    """What the server answered to who asked for the lock.

    Attributes:
        fence: as of `Taken`.
        left: as of `Taken`.
        at: monotonic time just before the server was asked, from which on a lease counts.
    """

    fence: int
    left: float
    at: float


_NOT_TAKEN = _Answer(0, 0.0, 0.0)


async def _take(locks: Locks, token: str) -> _Answer:
    """Ask for the lock; who is cancelled meanwhile gives back what the server may have given."""
    begun = time.monotonic()
    try:
        taken = await locks.take(token, int(_LEASE * 1000))
        return _Answer(taken.fence, taken.left, begun)
    except asyncio.CancelledError:
        with suppress(NotOpen, ServerError, TimeoutError):
            async with asyncio.timeout(_GIVING_BACK):
                await locks.give_back(token)
        raise


async def _wait_for(locks: Locks, token: str) -> _Answer:
    """Wait until the lock is ours."""
    taken = await _take(locks, token)
    if taken.fence:
        return taken
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
            taken = await _take(locks, token)
    finally:
        locks.unhear(free)
    return taken


class _Held:
    """A lock that is held, with the thread that renews its lease.

    Attributes:
        is_lost: whether the lease is lost.
        has_cancelled: whether the owner was cancelled for that.
    """

    def __init__(
        self, locks: Locks, token: str, owner: asyncio.Task[object] | None, *, taken_at: float
    ) -> None:
        self.locks = locks
        self.token = token
        self.is_lost = self.has_cancelled = False
        self._taken_at = taken_at
        self._owner = owner
        self._cancels = 0 if owner is None else owner.cancelling()
        self._loop = asyncio.get_running_loop()
        self._link = locks.connections.thread_link(locks.slot, _RENEWAL, name="lock")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="castwork-lock", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more, and cancel nobody from now on."""
        self._stop.set()

    async def take_cancel_back(self, error: BaseException | None) -> bool:
        """Take back the cancel of the owner; False if somebody else has cancelled it as well.

        Args:
            error: what ended the block.
        """
        assert self._owner is not None
        if not isinstance(error, asyncio.CancelledError):
            with suppress(asyncio.CancelledError):  # the block ended in the turn of the cancel
                await asyncio.sleep(0)
        return self._owner.uncancel() <= self._cancels

    def _run(self) -> None:
        ends = self._taken_at + _LEASE
        wait = max(0.0, self._taken_at + _RENEWAL - time.monotonic())
        while not self._stop.wait(wait):
            begun = time.monotonic()
            if begun >= ends:
                break
            # A try, which may have to connect first, must not outlast the lease: its holder would
            # learn too late that another may have the lock.
            self._link.limit(max(_SHORTEST, min(_RENEWAL, (ends - begun) / 2)))
            try:
                if not self.locks.renew(self._link, self.token, int(_LEASE * 1000)):
                    break
                ends, wait = begun + _LEASE, _RENEWAL
            except Exception as error:
                logger.warning("the lease of a lock was not renewed: %s", error)
                wait = max(0.0, min(0.5, ends - time.monotonic()))
        self._link.close()
        if self._stop.is_set():
            return
        self.is_lost = True
        if self._owner is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._cancel_owner, self._owner)

    def _cancel_owner(self, owner: asyncio.Task[object]) -> None:
        # The block may have ended since: what its task does now is no matter of the lock.
        if not self._stop.is_set():
            self.has_cancelled = True
            owner.cancel()
