"""Publisher: checks and sends the events of one channel or setting."""

from __future__ import annotations

from typing import Generic, TypeVar

from castwork.channels.event import EventCodec
from castwork.channels.receipt import Receipt
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
        raw = self._codec.encode(event)
        place = self._histories.place
        if self._keep <= 0:
            return Receipt(place.name, None, "", await self._histories.publish(raw))
        event_id = await self._histories.append(raw, self._keep)
        return Receipt(place.name, Members.of_channel(place), event_id)
