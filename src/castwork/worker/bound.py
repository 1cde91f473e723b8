"""Bound: the slots that all queues of one worker have together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castwork.worker.workload import Workload


class Bound:
    """Shares a worker's slots among its queues, of which there are several.

    A slot that becomes free goes to the first queue that wants it: of the queues in their order,
    or, where no order is asked for, of all in turn.

    Args:
        capacity: tasks that run at once in the worker.
        in_order: whether an earlier queue always comes first, so that its backlog keeps the later
            ones waiting.
    """

    def __init__(self, capacity: int, *, in_order: bool) -> None:
        self.capacity = capacity
        self.in_order = in_order
        self._members: list[Workload] = []

    def join(self, workload: Workload) -> int:
        """Add a queue, and return how many are before it."""
        self._members.append(workload)
        return len(self._members) - 1

    @property
    def free(self) -> int:
        """Slots that no queue has, and that none has kept for what it is claiming."""
        return self.capacity - sum(member.taken for member in self._members)

    @property
    def is_full(self) -> bool:
        """Whether tasks have all slots."""
        return sum(member.busy for member in self._members) >= self.capacity

    def room_for(self, workload: Workload) -> int:
        """Tasks of one queue that may run at once, beside those of the others."""
        others = (m.running - len(m.waiting) for m in self._members if m is not workload)
        return self.capacity - sum(others)

    def freed(self) -> None:
        """A slot may be free: run what waits in the worker, then let fetchers claim."""
        for member in self._members:
            member.settle()
        self.signal()

    def signal(self) -> None:
        """Wake the first fetcher that may claim; when it has claimed, the next one is woken."""
        for number, member in enumerate(self._members, 1):
            if member.wake():
                if not self.in_order:
                    self._members = self._members[number:] + self._members[:number]
                return
