"""Receipt: who has handled a published event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from castwork.channels.membership import SILENT_AFTER_MS, MemberPosition, decode_position
from castwork.model.errors import DefinitionError, UndecodableEntry
from castwork.model.option_values import Seconds, patience
from castwork.model.position import Position
from castwork.redis.inbox import Inbox
from castwork.store.members import Members

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an event, process by process.

    Attributes:
        applied: members whose handlers have run.
        failed: members whose handler raised, with the error.
        lagging: members that had not handled the event when the wait ended.
    """

    applied: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    lagging: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every counted member has handled the event without error."""
        return not self.failed and not self.lagging


class Receipt:
    """The receipt of one published event.

    Attributes:
        id: id of the event; empty on a channel without history.
        subscribers: on a channel without history, how many connections the server sent it to:
            in a cluster those of one node, so at least so many. None otherwise.
    """

    def __init__(
        self,
        channel: str,
        members: Members | None,
        event_id: str,
        subscribers: int | None = None,
    ) -> None:
        self.id = event_id
        self.subscribers = subscribers
        self._channel = channel
        self._members = members

    async def applied(self, timeout: Seconds = 10.0) -> Applied:
        """Wait until every process that follows the channel has handled the event.

        Counted are the processes with handlers that are alive at the call; a process that dies
        during the wait shows as lagging.

        Args:
            timeout: seconds to wait once they are counted; then the answer has the lagging
                members. 0 looks once.

        Raises:
            DefinitionError: the channel has no history, so nobody can tell.
            ConnectionFailed: no server in time.
        """
        members = self._members
        if members is None:
            raise DefinitionError(
                f"channel {self._channel!r} has no history, so its events have no receipts:"
                " declare it with history="
            )
        tally = _Tally(self.id)
        inbox = Inbox()
        bound = patience("timeout", timeout)
        try:
            # Outside of the bound, however short: without a count nobody would seem to lag.
            await members.listen(inbox)
            tally.begin(await _alive(members))
            async with asyncio.timeout(bound):
                while not tally.is_complete:
                    await inbox.wait()
                    # A missed position comes again with its member's next sign of life.
                    inbox.take_gap()
                    tally.note(inbox.take())
        except TimeoutError:
            pass
        finally:
            members.unlisten(inbox)
        return tally.result()


async def _alive(members: Members) -> list[bytes]:
    """What the live members say about themselves."""
    alive = await members.alive()
    return [member.info for member in alive if member.silent_for * 1000 <= SILENT_AFTER_MS]


class _Tally:
    """The positions of the members that were alive when counting began."""

    def __init__(self, event_id: str) -> None:
        self._event_id = event_id
        self._wanted = Position.parse(event_id)
        self._positions: dict[str, MemberPosition] = {}

    def begin(self, told: Iterable[bytes]) -> None:
        """Begin to count the members that told these positions."""
        self._positions = {position.member: position for position in _read(told)}

    def note(self, told: Iterable[bytes]) -> None:
        """Note newer positions of counted members; other members are passed over."""
        for position in _read(told):
            if position.member in self._positions:
                self._positions[position.member] = position

    @property
    def is_complete(self) -> bool:
        """Whether all counted members have handled the event."""
        return all(map(self._has_handled, self._positions.values()))

    def _has_handled(self, position: MemberPosition) -> bool:
        return Position.parse(position.at) >= self._wanted

    def result(self) -> Applied:
        """Which members have handled the event, and which have not."""
        result = Applied()
        for member, position in sorted(self._positions.items()):
            if self._event_id in position.failed:
                result.failed[member] = position.failed[self._event_id]
            elif self._has_handled(position):
                result.applied.append(member)
            else:
                result.lagging.append(member)
        return result


def _read(told: Iterable[bytes]) -> Iterable[MemberPosition]:
    for raw in told:
        try:
            position = decode_position(raw)
            Position.parse(position.at)
        except UndecodableEntry as error:
            logger.warning("a receipt passes over a member: %s", error)
        else:
            yield position
