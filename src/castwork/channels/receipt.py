"""Receipt: who has handled a published event."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from castwork.channels.members import SILENT_AFTER_MS, Position
from castwork.model.errors import DefinitionError
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys

_decode = msgspec.json.Decoder(Position).decode


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an event, process by process.

    Attributes:
        applied: members whose handlers have run.
        failed: members whose handler raised, with the error.
        lagging: live members that have not handled it yet.
    """

    applied: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    lagging: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every live member has handled it without error."""
        return not self.failed and not self.lagging


class Receipt:
    """The receipt of one published event.

    Attributes:
        id: id of the event; empty on a channel without history.
        subscribers: on a channel without history, how many connections the server sent it to;
            None otherwise.
    """

    def __init__(
        self,
        connections: Connections,
        channel: str,
        keys: ChannelKeys | None,
        event_id: str,
        subscribers: int | None = None,
    ) -> None:
        self.id = event_id
        self.subscribers = subscribers
        self._connections = connections
        self._channel = channel
        self._keys = keys
        self._positions: dict[str, Position] = {}
        self._news = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        position = _decode(payload)
        if position.member in self._positions:
            self._positions[position.member] = position
            self._news.set()

    def on_resumed(self) -> None:
        self._news.set()

    async def applied(self, timeout: float = 10.0) -> Applied:
        """Wait until every process that follows the channel has handled the event.

        Counted are the processes with handlers that were alive when this is called; one that
        dies while it is awaited shows as lagging.

        Args:
            timeout: seconds; the answer then says who lags.

        Raises:
            DefinitionError: the channel has no history, so nobody can tell.
            ConnectionFailed: no server in time.
        """
        keys = self._keys
        if keys is None:
            raise DefinitionError(
                f"channel {self._channel!r} has no history, so its events have no receipts:"
                " declare it with history="
            )
        pushes = self._connections.pushes
        try:
            async with asyncio.timeout(timeout):
                await pushes.add(keys.applied, self)
                self._positions = await self._read_positions(keys)
                while not self._all_there():
                    await self._news.wait()
                    self._news.clear()
        except TimeoutError:
            pass
        finally:
            pushes.remove(keys.applied, self)
        return self._result()

    async def _read_positions(self, keys: ChannelKeys) -> dict[str, Position]:
        call = self._connections.commands.call
        time, scores, raw = await asyncio.gather(
            call("TIME"),
            call("ZRANGE", keys.members, 0, -1, "WITHSCORES"),
            call("HGETALL", keys.positions),
        )
        alive_since = int(time[0]) * 1000 - SILENT_AFTER_MS
        alive = {member for member, score in scores if score >= alive_since}
        positions = [_decode(value) for member, value in raw.items() if member in alive]
        return {position.member: position for position in positions}

    def _all_there(self) -> bool:
        wanted = _order(self.id)
        return all(_order(position.at) >= wanted for position in self._positions.values())

    def _result(self) -> Applied:
        result = Applied()
        wanted = _order(self.id)
        for member, position in sorted(self._positions.items()):
            if self.id in position.failed:
                result.failed[member] = position.failed[self.id]
            elif _order(position.at) >= wanted:
                result.applied.append(member)
            else:
                result.lagging.append(member)
        return result


def _order(event_id: str) -> tuple[int, int]:
    ms, _, sequence = event_id.partition("-")
    return int(ms), int(sequence)
