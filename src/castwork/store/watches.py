"""Watches: who follows a task that is to be cancelled when nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from castwork.model.errors import NotOpen, ServerError
from castwork.store.place import QueuePlace
from castwork.store.scripts import UNWATCHED, WATCH

logger = logging.getLogger(__name__)


class Watches:
    """The watchers of one queue's tasks.

    All watchers of a task in this process share one lease, which one call renews for all tasks. A
    watcher that leaves takes nothing away: who reloads a page comes back within the lease. A lease
    that the server has lost begins anew, so that nothing is cancelled by that.

    Args:
        place: the queue.

    Attributes:
        lease: seconds for which a task is wanted behind the last sign of a watcher.
    """

    def __init__(self, place: QueuePlace) -> None:
        self.lease = 10.0
        self._place = place
        self._watchers: dict[str, int] = {}
        #: Those that came since the last renewal: also who has left already gets a lease.
        self._fresh: set[str] = set()
        self._changed: asyncio.Event | None = None  # while there is somebody to renew leases for
        self._renewing: asyncio.Task[None] | None = None

    def enter(self, task_id: str) -> None:
        """Watch a task from now on, until `leave` is called as often."""
        self._watchers[task_id] = self._watchers.get(task_id, 0) + 1
        self._fresh.add(task_id)
        if self._changed is not None:
            self._changed.set()
            return
        self._changed = asyncio.Event()
        self._renewing = asyncio.get_running_loop().create_task(self._renew(self._changed))

    def leave(self, task_id: str) -> None:
        """End one watch of a task."""
        self._watchers[task_id] -= 1
        if not self._watchers[task_id]:
            del self._watchers[task_id]
        if not self._watchers and self._changed is not None:
            self._changed.set()

    async def _renew(self, changed: asyncio.Event) -> None:
        """Renew the leases until nobody watches any more."""
        try:
            while self._watchers or self._fresh:
                changed.clear()
                wanted, self._fresh = self._fresh.union(self._watchers), set()
                try:
                    await self.renew(list(wanted))
                except (NotOpen, ServerError) as error:
                    logger.warning("watched tasks of queue %s: %s", self._place.queue.name, error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.lease / 4):
                        await changed.wait()
        finally:
            self._changed = self._renewing = None

    async def renew(self, task_ids: Sequence[str]) -> None:
        """Give tasks a lease from now on.

        Raises:
            ConnectionFailed, ServerRefused: as `Link.call`.
        """
        await self._place.run(WATCH, [self._place.keys.watched], [self._lease_ms, *task_ids])

    async def unwatched(self, task_ids: Sequence[str]) -> set[str]:
        """Of some running tasks those whose lease has passed. Raises as `renew`."""
        keys, args = [self._place.keys.watched], [self._lease_ms, *task_ids]
        return {one.decode() for one in await self._place.run(UNWATCHED, keys, args)}

    @property
    def _lease_ms(self) -> int:
        return int(self.lease * 1000)
