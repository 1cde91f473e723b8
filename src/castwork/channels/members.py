"""Members: the processes that follow a channel, how far each has come, and what failed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import msgspec

from castwork.model.codec import encode
from castwork.model.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    NotOpen,
    OutOfMemory,
    ServerRefused,
)
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys
from castwork.redis.scripts import BEAT

logger = logging.getLogger(__name__)

#: Milliseconds of silence after which a member no longer counts.
SILENT_AFTER_MS = 15_000

#: Seconds between signs of life.
_BEAT = 3.0


class Position(msgspec.Struct, omit_defaults=True):
    """How far one process has come.

    Attributes:
        member: the process.
        at: id of the last event that it has handled.
        failed: event id and error of the last failures.
    """

    member: str
    at: str
    failed: dict[str, str] = {}


class Membership:
    """Tells for one process how far it has come on one channel.

    Positions are told one at a time: while one is under way the next gathers, so a flood of
    events costs few messages.
    """

    def __init__(self, connections: Connections, keys: ChannelKeys, *, at: str) -> None:
        self._connections = connections
        self._keys = keys
        self._at = at
        self._failed: deque[tuple[str, str]] = deque(maxlen=10)
        self._changed = asyncio.Event()

    async def join(self) -> None:
        """Become a member; from now on receipts wait for this process."""
        try:
            await self._tell(announce=False)
        except OutOfMemory as error:
            logger.warning("receipts do not wait for this process yet: %s", error)

    def handled(self, event_id: str, error: str = "") -> None:
        """Note that an event was handled, or that a handler failed on it."""
        self._at = event_id
        if error:
            self._failed.append((event_id, error))
        self._changed.set()

    async def run(self) -> None:
        """Tell positions, and give signs of life, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_BEAT):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._tell(announce=True)
            except (AuthenticationFailed, ConnectionFailed, ServerRefused) as error:
                logger.warning("a channel position was not told: %s", error)
                self._changed.set()
                await asyncio.sleep(0.2)

    async def leave(self) -> None:
        """Be no member any more."""
        member = self._connections.member
        call = self._connections.commands.call
        try:
            await asyncio.gather(
                call("ZREM", self._keys.members, member, timeout=2.0),
                call("HDEL", self._keys.positions, member, timeout=2.0),
            )
        except (ConnectionFailed, NotOpen, ServerRefused):
            logger.debug("membership runs out by itself")

    async def _tell(self, *, announce: bool) -> None:
        member = self._connections.member
        position = Position(member, self._at, dict(self._failed))
        await self._connections.scripts.run(
            BEAT,
            [self._keys.members, self._keys.positions],
            [
                member,
                encode(position),
                SILENT_AFTER_MS,
                self._keys.applied if announce else "",
            ],
        )
