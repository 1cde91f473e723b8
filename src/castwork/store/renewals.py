"""Renewals: renews leases from a thread, even while the event loop is blocked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from castwork.model.delivery import Delivery
from castwork.redis.replies import NoScript
from castwork.redis.thread_link import ThreadLink
from castwork.store.place import QueuePlace
from castwork.store.scripts import RENEW


class Renewals:
    """Renews the leases that one worker holds of a queue.

    A call that fails is not repeated here; the next call connects anew.

    Args:
        link_for: gives the thread's own connection for a slot; called on the thread.
    """

    def __init__(
        self, place: QueuePlace, worker_id: str, link_for: Callable[[int], ThreadLink]
    ) -> None:
        self._link_for = link_for
        self._slot = place.slot
        self._lanes = place.keys.lanes
        self._group = place.queue.group
        self._worker_id = worker_id

    def renew(self, lane: int, deliveries: Sequence[Delivery]) -> list[int]:
        """Renew leases of one lane, oldest first; return the positions of lost leases.

        Raises:
            OSError: no connection, or no reply in time.
            CastworkError: the server refused.
        """
        args: list[Any] = [1, self._lanes[lane], self._group, self._worker_id]
        for delivery in deliveries:
            args += (delivery.entry_id, delivery.deliveries)
        link = self._link_for(self._slot)
        try:
            reply = link.call("EVALSHA", RENEW.sha, *args)
        except NoScript:
            reply = link.call("EVAL", RENEW.source, *args)
        return [position - 1 for position in reply]
