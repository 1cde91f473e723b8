"""Publisher: checks and sends the events of one channel or setting."""

from __future__ import annotations

from typing import Generic, TypeVar

from castwork.channels.event import EventCodec
from castwork.channels.receipt import Receipt
from castwork.redis.portal import portal
from castwork.store.histories import Histories
from castwork.store.members import Members

E = TypeVar("E")


class Publisher(Generic[E]):
    """Publishes events.

    Args:
        codec: encodes and checks the events.
        keep: events that the history holds; 0 for a plain Redis channel.
    """

    def __init__(self, histories: Histories, codec: EventCodec[E], *, keep: int) -> None:
        self._histories = histories
        self._codec = codec
        self._keep = keep

    async def publish(self, event: E) -> Receipt:
        """Publish an event; see `Channel.publish`."""
        return self._receipt(await self._send(self._histories, self._codec.encode(event)))

    def publish_sync(self, event: E, *, name: str) -> Receipt:
        """Publish an event from a thread; `name` is that of the method whose twin calls this."""
        raw = self._codec.encode(event)
        return self._receipt(portal.run(name, lambda: self._send(self._histories.twin, raw)))

    async def _send(self, histories: Histories, raw: bytes) -> str | int:
        """The event's id in the history; without a history how many subscribers it went to."""
        if self._keep <= 0:
            return await histories.publish(raw)
        return await histories.append(raw, self._keep)

    def _receipt(self, answer: str | int) -> Receipt:
        place = self._histories.place
        if isinstance(answer, int):
            return Receipt(place.name, None, "", answer)
        return Receipt(place.name, Members.of_channel(place), answer)
