"""Publisher: sends events. One with a history is sent exactly once, whatever happens to replies."""

from __future__ import annotations

import asyncio
import time

from castwork.model.errors import EffectUnknown, QueueFull
from castwork.model.ids import new_id
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys
from castwork.redis.scripts import PUBLISH

#: How many times its length a history may grow while a group has not handled its events.
_HARD_BOUND = 10

#: Seconds within which an event whose reply was lost is sent again.
_PATIENCE = 15.0


class Publisher:
    """Publishes encoded events."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def publish(self, channel: str, event: bytes) -> int:
        """Publish on a plain Redis channel: PUBLISH, nothing else.

        Returns:
            The number of subscribers on the server, over all programs.

        Raises:
            EffectUnknown: the reply was lost; subscribers may have heard it.
            ConnectionFailed: no server in time.
        """
        if not self._connections.is_open:
            await self._connections.open()
        reply = await self._connections.commands.call("PUBLISH", channel, event, idempotent=False)
        return int(reply)

    async def append(self, keys: ChannelKeys, event: bytes, *, keep: int) -> str:
        """Append to a channel's history and tell its subscribers; returns the event's id.

        A lost reply is answered by asking whether the event is there, so it is never doubled.

        Raises:
            QueueFull: a group holds up more than ten times the history's length.
            ConnectionFailed: no server in time.
        """
        if not self._connections.is_open:
            await self._connections.open()
        uid = new_id()
        give_up = time.monotonic() + _PATIENCE
        again = 0
        while True:
            args = [keys.live, uid, event, keep, keep * _HARD_BOUND + 100, again]
            try:
                reply = await self._connections.scripts.run(
                    PUBLISH, [keys.history], args, idempotent=False
                )
            except EffectUnknown:
                if time.monotonic() > give_up:
                    raise
                again = 1
                await asyncio.sleep(0)
                continue
            if reply == b"full":
                raise QueueFull(keys.history, keep * _HARD_BOUND)
            return bytes(reply).decode()
