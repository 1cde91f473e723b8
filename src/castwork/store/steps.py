"""Steps: tasks of one queue that wait for others, which may be in other queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from castwork.store.parked import Parked
from castwork.store.place import QueuePlace

#: Seconds that a step may wait for those before it, and that it is remembered which have arrived.
LONGEST_WAIT_S = 30 * 86_400

#: Milliseconds that a result is kept which a step has taken.
_TAKEN_MS = 3_600_000


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
            Whether this has queued the step.

        Raises:
            ConnectionFailed: no server in time.
        """
        key, link = self._place.keys.arrived(step_id), await self._place.link()
        _, _, count = await asyncio.gather(
            link.call("ZADD", key, 0, number, idempotent=True),
            link.call("PEXPIRE", key, LONGEST_WAIT_S * 1000, idempotent=True),
            link.call("ZCARD", key, idempotent=True),
        )
        return bool(count >= of and await self.begin(step_id))

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
        """Keep results that a step has taken for an hour more. Raises as `arrive`."""
        link, keys = await self._place.link(), self._place.keys
        calls = (
            link.call("PEXPIRE", keys.record(one), _TAKEN_MS, idempotent=True) for one in task_ids
        )
        await asyncio.gather(*calls)
