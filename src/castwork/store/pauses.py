"""Pauses: whether a queue's workers may begin tasks; kept on the server, for the whole fleet."""

from __future__ import annotations

import asyncio

from castwork.store.place import QueuePlace

#: What workers are told on the control channel, behind an empty id and a line break.
PAUSED, RESUMED = "paused", "resumed"


class Pauses:
    """Holds the workers of one queue, and lets them go on."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place

    async def pause(self) -> None:
        """Let no worker begin a task of the queue; what runs goes on, and more may be enqueued.

        Raises:
            ConnectionFailed: no server in time.
        """
        await self._change(("SET", self._place.keys.paused, 1), PAUSED)

    async def resume(self) -> None:
        """Let workers begin tasks again. Raises as `pause`."""
        await self._change(("DEL", self._place.keys.paused), RESUMED)

    async def is_paused(self) -> bool:
        """Whether the queue is paused. Raises as `pause`."""
        return bool(await self._place.call("EXISTS", self._place.keys.paused))

    async def _change(self, command: tuple[str | int, ...], word: str) -> None:
        link = await self._place.link()
        channel = self._place.channel(self._place.keys.control)
        # In this order on one link: who hears of it and reads the key finds it.
        await asyncio.gather(
            link.call(*command, idempotent=True), link.call("PUBLISH", channel, f"\n{word}")
        )
