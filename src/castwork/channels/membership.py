"""Membership: tells how far this process has come on a channel, and what failed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import msgspec

from castwork.model.codec import encode
from castwork.model.errors import NotOpen, OutOfMemory, ServerError, UndecodableEntry
from castwork.store.members import Members

logger = logging.getLogger(__name__)

#: The version in new positions. Readers take any version, and ignore fields that they do not know.
FORMAT = 1

#: Milliseconds of silence after which a member no longer counts.
SILENT_AFTER_MS = 15_000

#: Seconds between signs of life.
_BEAT = 3.0


class MemberPosition(msgspec.Struct, omit_defaults=True):
    """How far one process has come.

    Attributes:
        member: the process.
        at: id of the last event that the process has handled.
        failed: event id and error of the last failures.
        v: version of the format; 0 where the writer named none.
    """

    member: str
    at: str
    failed: dict[str, str] = {}
    v: int = 0


_decode = msgspec.json.Decoder(MemberPosition).decode


def decode_position(raw: bytes) -> MemberPosition:
    """Read what a member tells.

    Raises:
        UndecodableEntry: the bytes are something else.
    """
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UndecodableEntry(f"not a member's position: {error}: {raw[:100]!r}") from error


class Membership:
    """Tells for one process how far it has come on one channel.

    A position is told at once when a publisher asks for it, else with the next sign of life.
    While a position is being told, the events that are handled meanwhile share the next one, so
    a flood of events costs few messages.

    Args:
        at: id of the last event before the first event that this process handles.
    """

    def __init__(self, members: Members, *, at: str) -> None:
        self._members = members
        self._at = at
        self._failed: deque[tuple[str, str]] = deque(maxlen=10)
        self._asked = asyncio.Event()

    async def join(self) -> None:
        """Become a member; from now on receipts wait for this process."""
        try:
            await self._tell(announce=False)
        except OutOfMemory as error:
            logger.warning("receipts do not wait for this process yet: %s", error)

    def handled(self, event_id: str, error: str = "", *, asks: bool) -> None:
        """Note that an event was handled, or that a handler failed on it.

        Args:
            event_id: the event.
            error: the error of the handler that failed, empty if none did.
            asks: whether the publisher asks who has applied the event.
        """
        self._at = event_id
        if error:
            self._failed.append((event_id, error))
        if asks:
            self._asked.set()

    async def run(self) -> None:
        """Tell positions, and give signs of life, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_BEAT):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            try:
                await self._tell(announce=True)
            except ServerError as error:
                logger.warning("a channel position was not told: %s", error)
                self._asked.set()
                await asyncio.sleep(0.2)

    async def leave(self) -> None:
        """Stop being a member."""
        try:
            await self._members.leave(self._members.own_name)
        except (NotOpen, ServerError):
            logger.debug("membership runs out by itself")

    async def _tell(self, *, announce: bool) -> None:
        member = self._members.own_name
        position = MemberPosition(member, self._at, dict(self._failed), FORMAT)
        await self._members.beat(
            member, encode(position), SILENT_AFTER_MS, self._members.news if announce else None
        )
