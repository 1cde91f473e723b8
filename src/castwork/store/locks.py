"""Locks: leases on names, one holder at a time in the fleet."""

from __future__ import annotations

from typing import NamedTuple

from castwork.redis.connections import Connections
from castwork.redis.pushes import Listener
from castwork.redis.replies import NoScript
from castwork.redis.thread_link import ThreadLink
from castwork.store.keys import LockKeys
from castwork.store.place import Place
from castwork.store.scripts import LOCK, UNLOCK


class Taken(NamedTuple):
    """The answer to who asks for a lock.

    Attributes:
        fence: a number that grows with each holder; 0 where another one has the lock.
        left: seconds until the other's lease ends.
    """

    fence: int
    left: float = 0.0


class Locks(Place):
    """One lock.

    Args:
        connections: the way to the server.
        namespace: the app's namespace.
        name: the lock's name.
    """

    def __init__(self, connections: Connections, namespace: str, name: str) -> None:
        self._keys = LockKeys(namespace, name)
        super().__init__(connections, self._keys.slot)

    async def take(self, token: str, lease_ms: int) -> Taken:
        """Take the lock for a lease, if nobody has it.

        Raises:
            ConnectionFailed: no server in time.
        """
        done, number = await self.run(LOCK, [self._keys.lock], [token, lease_ms, 0])
        return Taken(int(number)) if done else Taken(0, int(number) / 1000)

    async def give_back(self, token: str) -> bool:
        """Give the lock back; False if it was not held any more. Raises as `take`."""
        channel = self.channel(self._keys.lock)
        return bool(await self.run(UNLOCK, [self._keys.lock], [token, channel]))

    async def hear(self, listener: Listener) -> None:
        """Hear when the lock is given back."""
        await self.link()
        await self.listen(self.channel(self._keys.lock), listener)

    def unhear(self, listener: Listener) -> None:
        """Stop hearing."""
        self.unlisten(self.channel(self._keys.lock), listener)

    def renew(self, link: ThreadLink, token: str, lease_ms: int) -> bool:
        """Renew the lease from a thread, over its own connection; False if it is lost.

        Raises:
            OSError, CastworkError: as `ThreadLink.call`.
        """
        args = (1, self._keys.lock, token, lease_ms, 1)
        try:
            done, _ = link.call("EVALSHA", LOCK.sha, *args)
        except NoScript:
            done, _ = link.call("EVAL", LOCK.source, *args)
        return bool(done)
