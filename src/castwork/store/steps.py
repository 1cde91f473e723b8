"""Steps: tasks of one queue that wait for others, which may be in other queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from castwork.store.parked import Parked
from castwork.store.place import QueuePlace
from castwork.store.scripts import ARRIVE, TAKEN

#: Seconds that a step may wait for those before it.
LONGEST_WAIT_S = 30 * 86_400

#: Milliseconds that a result is kept which a step has taken.
_TAKEN_MS = 3_600_000

#: Tasks that one call lets go of, at most: keeps the call short on the server.
_TOGETHER = 200


class Steps:
    """Counts which tasks have arrived, and queues the step that has waited for the last of them."""

    def __init__(self, place: QueuePlace, parked: Parked) -> None:
        self._place = place
        self._parked = parked

    async def arrive(self, step_id: str, number: int, of: int) -> bool:
        """Note that one of the tasks has ended for which a step waits. May be repeated.

        Args:
            step_id: the step.
            number: the task's number.
            of: how many the step waits for.

        Returns:
            Whether the step is still to end; False where nobody takes the task's result any more.

        Raises:
            ConnectionFailed: no server in time.
        """
        keys = self._place.keys
        names = [keys.arrived(step_id), keys.due, keys.record(step_id)]
        count = int(await self._place.run(ARRIVE, names, [step_id, number]))
        if count >= of:
            await self.begin(step_id)
        return count >= 0

    async def begin(self, step_id: str) -> bool:
        """Queue a step that waits; False where it does not. Raises as `arrive`."""
        return bool(await self._parked.unpark([step_id]))

    async def arrived(self, step_id: str) -> int:
        """How many of the tasks have ended for which a step waited. Raises as `arrive`."""
        return int(await self._place.call("ZCARD", self._place.keys.arrived(step_id)))

    async def forget(self, step_id: str) -> None:
        """Forget which tasks have arrived for a step that has ended. Raises as `arrive`."""
        await self._place.call("DEL", self._place.keys.arrived(step_id))

    async def results(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records of tasks, None for those that are gone. Raises as `arrive`."""
        link, keys = await self._place.link(), self._place.keys
        calls = (link.call("GET", keys.record(one), idempotent=True) for one in task_ids)
        found: list[bytes | None] = await asyncio.gather(*calls)
        return found

    async def taken(self, task_ids: Sequence[str]) -> None:
        """Keep what has ended of tasks for an hour more: a step has taken it, or none will.

        Raises as `arrive`.
        """
        keys = self._place.keys
        for start in range(0, len(task_ids), _TOGETHER):
            names: list[str] = []
            for one in task_ids[start : start + _TOGETHER]:
                names += (keys.record(one), keys.output(one))
            await self._place.run(TAKEN, names, [_TAKEN_MS])
