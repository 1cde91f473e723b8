"""A queue: its lanes in the order in which they are served, and its keys."""

from __future__ import annotations

import msgspec

from castwork.model.settings import QueueSettings
from castwork.model.states import Priority
from castwork.redis.keys import QueueKeys

#: The consumer group on castwork's own streams.
GROUP = "workers"


class Lane(msgspec.Struct, frozen=True):
    """One stream that a queue is served from.

    Attributes:
        name: `high`, `normal`, `low`, or `stream` for an adopted one.
        stream: its key.
        group: the consumer group.
        share: part of the slots that it is sure of when lanes before it are full.
        owned: whether entries are castwork's own: deleted once acknowledged.
    """

    name: str
    stream: str
    group: str
    share: float
    owned: bool = True


class Queue(msgspec.Struct, frozen=True):
    """A named line of tasks.

    Attributes:
        name: the queue's name.
        keys: its keys.
        lanes: what it is served from, the most urgent first.
        settings: bounds.
        keeps_records: whether outcomes are stored (not for group subscriptions).
    """

    name: str
    keys: QueueKeys
    lanes: tuple[Lane, ...]
    settings: QueueSettings = msgspec.field(default_factory=QueueSettings)
    keeps_records: bool = True

    @property
    def group(self) -> str:
        """The consumer group, the same on every lane."""
        return self.lanes[0].group

    @property
    def streams(self) -> list[str]:
        """The lanes' keys."""
        return [lane.stream for lane in self.lanes]

    @property
    def adopted(self) -> Lane | None:
        """The lane of the adopted stream, None for an ordinary queue."""
        return self.lanes[-1] if self.lanes[-1].name == "stream" else None

    def lane_of(self, priority: Priority) -> str:
        """The stream for a priority."""
        return self.keys.lanes[priority]


def own_queue(namespace: str, name: str, settings: QueueSettings | None = None) -> Queue:
    """A queue of castwork's own."""
    keys = QueueKeys.of_queue(namespace, name)
    return Queue(name, keys, _own_lanes(keys), settings or QueueSettings())


def adopted_queue(
    stream: str,
    group: str,
    *,
    name: str = "",
    settings: QueueSettings | None = None,
    owned: bool = True,
    keeps_records: bool = True,
) -> Queue:
    """A queue around a stream that others write to.

    Args:
        stream: its key.
        group: the consumer group to read it with.
        name: the queue's name; the stream's by default.
        owned: delete entries once acknowledged; False where others read the stream too.
        keeps_records: store outcomes.
    """
    keys = QueueKeys.of_stream(stream, group)
    lane = Lane("stream", stream, group, share=0.2, owned=owned)
    return Queue(
        name or stream,
        keys,
        (*_own_lanes(keys, group), lane),
        settings or QueueSettings(),
        keeps_records,
    )


def _own_lanes(keys: QueueKeys, group: str = GROUP) -> tuple[Lane, ...]:
    shares = {Priority.HIGH: 0.0, Priority.NORMAL: 0.2, Priority.LOW: 0.1}
    return tuple(
        Lane(priority.value, stream, group, shares[priority])
        for priority, stream in keys.lanes.items()
    )
