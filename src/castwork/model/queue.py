"""A queue as plain data: its name, its lanes in the order in which they are served, its bounds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from castwork.model.errors import DefinitionError
from castwork.model.limits import AtOnce, Rate, queue_limits, refuse_whose
from castwork.model.names import quoted
from castwork.model.option_values import Check, count, settle
from castwork.model.states import Priority

#: The consumer group on castwork's own streams.
GROUP = "workers"

#: Seconds for which an entry is left to a consumer of another program, which renews no lease.
FOREIGN_LEASE = 300.0


_CHECKS: dict[str, Check] = {
    "max_depth": count(least=0),
    "concurrency": count(optional=True),
    "limits": queue_limits,
}


class QueueSettings(msgspec.Struct):
    """How a queue behaves. What functions of the queue share, so that it may be said behind them.

    Args:
        max_depth: tasks waiting and running after which `enqueue` raises `QueueFull`;
            0 for no bound.
        concurrency: tasks of this queue that one worker runs at once; None for the
            worker's own setting.
        limits: how often attempts of its tasks may begin, and how many may run at once, over all
            workers and functions.
    """

    max_depth: int = 0
    concurrency: int | None = None
    limits: Sequence[Rate | AtOnce] = ()

    def __post_init__(self) -> None:
        settle(self, _CHECKS)

    def become(self, other: QueueSettings) -> None:
        """Take over what other settings say."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(other, name))


class Lane(msgspec.Struct, frozen=True):
    """One stream that a queue is served from.

    Attributes:
        name: `high`, `normal`, `low`, or `stream` for an adopted one.
        share: part of the slots that the lane is sure of when lanes before it are full.
    """

    name: str
    share: float

    @property
    def priority(self) -> Priority:
        """The lane that a task goes back to: `normal` for a task from an adopted stream."""
        return Priority.NORMAL if self.name == "stream" else Priority(self.name)


_OWN_LANES = (
    Lane(Priority.HIGH.value, 0.0),
    Lane(Priority.NORMAL.value, 0.2),
    Lane(Priority.LOW.value, 0.1),
)


class Queue(msgspec.Struct, frozen=True):
    """A named line of tasks.

    Attributes:
        name: the queue's name.
        lanes: the lanes that the queue is served from, the most urgent first.
        settings: bounds.
        stream: key of the stream that the queue adopts, None for a queue of castwork's own.
        group: the consumer group, the same on every lane.
        owned: whether entries of an adopted stream are deleted once acknowledged.
        keeps_records: whether outcomes are stored (not for group subscriptions).
        foreign_lease: seconds for which an entry of an adopted stream is left to a consumer that is
            no castwork worker.
    """

    name: str
    lanes: tuple[Lane, ...] = _OWN_LANES
    settings: QueueSettings = msgspec.field(default_factory=QueueSettings)
    stream: str | None = None
    group: str = GROUP
    owned: bool = True
    keeps_records: bool = True
    foreign_lease: float = FOREIGN_LEASE

    @property
    def noun(self) -> str:
        """What logs call its entries: tasks, or the events that a channel's group handles."""
        return "task" if self.keeps_records else "event"

    @property
    def id_prefix(self) -> str:
        """What task ids begin with: the queue's name, or an adopted stream's key and group."""
        if self.stream is None:
            return self.name
        return f"{self.stream}:{self.group_part}"

    @property
    def notes_cancels(self) -> bool:
        """Whether cancels of waiting entries are noted, as others read the stream too."""
        return self.stream is not None and self.keeps_records and not self.owned

    @property
    def group_part(self) -> str:
        """The group as a part of keys and ids: a name without the marks that divide those."""
        return quoted(self.group, ":{}")


def adopted_queue(
    stream: str,
    group: str,
    *,
    name: str = "",
    settings: QueueSettings | None = None,
    owned: bool = True,
    keeps_records: bool = True,
    foreign_lease: float = FOREIGN_LEASE,
) -> Queue:
    """A queue around a stream that others write to.

    Tasks are retried on lanes of castwork's own beside the stream.

    Args:
        stream: the stream's key.
        group: the consumer group to read the stream with.
        name: the queue's name; the stream's by default.
        settings: bounds, without a `max_depth`.
        owned: delete entries once acknowledged; False where others read the stream too.
        keeps_records: store outcomes.
        foreign_lease: seconds for which an entry is left to a consumer of another program.

    Raises:
        DefinitionError: the bounds have a `max_depth`, or limits by tenant or owner.
    """
    if settings is not None and settings.max_depth:
        raise DefinitionError(
            f"queue {name!r}: max_depth cannot hold for stream {stream!r}, which others write:"
            " leave it out, and have the writers bound the stream"
        )
    if settings is not None:
        refuse_whose(f"queue {name!r}: limits", settings.limits)
    lanes = (*_OWN_LANES, Lane("stream", 0.2))
    return Queue(
        name or stream,
        lanes,
        settings or QueueSettings(),
        stream=stream,
        group=group,
        owned=owned,
        keeps_records=keeps_records,
        foreign_lease=foreign_lease,
    )


def check_queue_name(name: str) -> str:
    """Return a queue's name.

    Raises:
        DefinitionError: the name has a character that keys, ids or patterns give a meaning.
    """
    if not name or any(c in "{}:* " for c in name):
        raise DefinitionError(
            f"queue {name!r}: a queue's name has no braces, colons, stars or spaces"
        )
    return check_printable("queue", name)


def check_printable(what: str, name: str) -> str:
    """Return a name that becomes part of keys.

    Raises:
        DefinitionError: the name has control characters, which divide lines of messages.
    """
    if not name.isprintable():
        raise DefinitionError(f"{what} {name!r}: such a name has no control characters")
    return name
