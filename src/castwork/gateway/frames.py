"""Frames: events of channels for clients, encoded at most once for each protocol."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from castwork.channels.channel import Channel
from castwork.channels.event import Resync
from castwork.channels.follower import Heard, HistoryFollower
from castwork.gateway.sse import sse_frame
from castwork.model.codec import encode
from castwork.model.errors import InvalidArguments
from castwork.model.position import Position

logger = logging.getLogger(__name__)


class Frame:
    """One event, or a `Resync`, shared by all subscribers of a channel.

    Attributes:
        id: position in the history, empty on a channel without history.
        event: the event as JSON, None for a `Resync`.
        size: bytes of the event.
    """

    def __init__(self, channel: str, event_id: str, event: bytes | None) -> None:
        self.channel = channel
        self.id = event_id
        self.event = event
        self.size = len(event or b"")

    @cached_property
    def position(self) -> Position | None:
        """The id as a position, None on a channel without history."""
        return Position.parse(self.id) if self.id else None

    @cached_property
    def sse(self) -> bytes:
        """The frame as a server-sent event."""
        if self.event is None:
            return sse_frame("resync", encode({"channel": self.channel}))
        return sse_frame("", self.event, self.id)

    @cached_property
    def message(self) -> str:
        """The frame as a message of a socket."""
        name = encode(self.channel).decode()
        if self.event is None:
            return f'{{"type":"resync","channel":{name}}}'
        event = self.event.decode(errors="replace")
        return f'{{"type":"event","channel":{name},"id":"{self.id}","event":{event}}}'


class FrameMaker:
    """Makes the frames of one channel, and reads its history.

    Attributes:
        name: the channel's name.
        has_history: whether a subscriber that missed events can have them from a history.
    """

    def __init__(self, channel: Channel[Any]) -> None:
        self.name = channel.name
        self.has_history = channel.has_history
        self._channel = channel

    def make(self, item: Heard | Resync) -> Frame | None:
        """Make a frame; None for an event that is not of the channel's type."""
        if isinstance(item, Resync):
            return self.resync()
        try:
            self._channel.codec.decode(item.event)
        except InvalidArguments as error:
            logger.error("channel %s: an event was skipped: %s", self.name, error)
            return None
        return Frame(self.name, item.id, item.event)

    def resync(self) -> Frame:
        """A frame that says that events are missing."""
        return Frame(self.name, "", None)

    def reader(self, after: Position | None) -> HistoryFollower:
        """A reader of the history behind a position."""
        return self._channel.history_follower(after)
