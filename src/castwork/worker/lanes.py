"""Lanes: whom to serve next."""

from __future__ import annotations

from collections.abc import Sequence

from castwork.model.queue import Lane
from castwork.store.claims import Batch


class Lanes:
    """Divides what a claim takes among the lanes of a queue.

    Urgent lanes go first; each other lane earns credit from what is claimed, so that a full first
    lane does not starve it.

    Attributes:
        only: the lane that alone has tasks, as far as is known; None where several may have.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.only: int | None = None
        self._lanes = lanes
        self._credit = [0.0] * len(lanes)

    def shares(self, count: int) -> list[int]:
        """Per lane the entries that the lane is sure of when `count` are claimed."""
        return [min(int(credit), count) for credit in self._credit]

    def note(self, batch: Batch, shares: Sequence[int]) -> None:
        """Learn from what a claim brought."""
        taken = [0] * len(self._lanes)
        for position, entries in batch.lanes:
            taken[position] += len(entries)
        total = sum(taken)
        self.only = taken.index(total) if total and total in taken else None
        for i, lane in enumerate(self._lanes):
            short = taken[i] < shares[i] or not total
            self._credit[i] = 0.0 if short else self._credit[i] - shares[i] + lane.share * total
