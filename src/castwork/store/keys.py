"""The name of every key: no other module makes key names.

All keys of a queue share a hash tag, and so do all keys of a channel, so that each script touches
one slot of a cluster.
"""

from __future__ import annotations

from castwork.model.names import quoted
from castwork.model.queue import Queue
from castwork.model.states import Priority
from castwork.redis.slots import slot_of


def _tag_for(stream: str) -> str:
    """The hash tag under which our keys land in the slot of a foreign stream."""
    start = stream.find("{")
    end = stream.find("}", start + 1)
    if start >= 0 and end > start + 1:
        return stream[start : end + 1]
    slot = slot_of(stream)
    if slot_of(f"{{{stream}}}") == slot:
        return f"{{{stream}}}"
    # The name has a lone brace, so that it cannot stand in a hash tag. Take the first number that,
    # as a tag, lands in the stream's slot.
    return next(tag for tag in (f"{{{n}}}" for n in range(1_000_000)) if slot_of(tag) == slot)


def _sized(*parts: str) -> str:
    """Parts joined so that different parts never give the same text."""
    return "".join(f"{len(part)}:{part}" for part in parts)


#: The words of a queue's keys behind which a name follows that may hold colons. A new such word
#: belongs here; else a stream or a group of that name would get another queue's keys.
NAMING_WORDS = frozenset({"task", "out", "saved", "arrived", "key", "told"})


def _prefix_beside(stream: str, group: str) -> str:
    """What the keys beside an adopted stream begin with; different for different queues.

    Streams of one tag, and groups of one stream, each have keys of their own. Where the parts of
    the usual form could be read as another stream's, or as those of a queue whose tag is the
    stream's name, each part has its length before it.

    Args:
        stream: the stream's key.
        group: the group, without colons and braces.
    """
    tag = _tag_for(stream)
    if "{" in stream or "}" in stream:
        is_plain = NAMING_WORDS.isdisjoint(stream.split(":")) and not stream.startswith(":")
        usual = f"{tag}:{stream}:{group}"
    else:
        is_plain = group not in NAMING_WORDS or ":" not in stream
        usual = f"{tag}:{group}"
    return usual if is_plain else f"{tag}::{_sized(stream, group)}"


class QueueKeys:
    """Keys of one queue, built once.

    Attributes:
        slot: the cluster slot of all of them.
        lanes: the streams, in the order of the queue's lanes.
        sent: the answers to the last calls of producers.
        moved: task id to lane and entry, for tasks whose id does not name their entry.
        robbed: notes of the workers that entries were taken from.
        unwanted: entries of an adopted stream that were cancelled, and that others read too.
        parked: tasks that wait for a time.
        due: ids of parked tasks by the time that they wait for.
        schedules: tasks that run again and again; `ticks` has when each is due next.
        held: tasks that a limit holds back, by id: where they stand among those that wait for it.
        waiters: the tasks that wait for each limit, the oldest first.
        rates: per limit the time at which all that has begun would have, evenly spaced.
        waking: limits by the time of the next look at them.
        turns: tasks of which one at a time runs: their members in `lines`, by id.
        lines: the same tasks, line by line in their order.
        watched: tasks that are wanted while somebody watches them, by the time of their lease.
        limits: what the scripts of limits use, in their order; `held`, `parked`, `moved` and the
            urgent lane among them.
        paused: there while workers may begin no tasks.
        dead: dead letters; `letters` finds them by task id.
        control: channel on which workers hear what to cancel, and of pauses.
    """

    def __init__(self, prefix: str, queue: Queue) -> None:
        self.prefix = prefix
        self.slot = slot_of(prefix)
        self.own = {priority: f"{prefix}:stream:{priority.value}" for priority in Priority}
        self.lanes = [
            queue.stream if lane.name == "stream" and queue.stream else self.own[lane.priority]
            for lane in queue.lanes
        ]
        self.sent = f"{prefix}:sent"
        self.moved = f"{prefix}:moved"
        self.robbed = f"{prefix}:robbed"
        self.unwanted = f"{prefix}:unwanted"
        self.parked = f"{prefix}:parked"
        self.due = f"{prefix}:due"
        self.schedules = f"{prefix}:schedules"
        self.ticks = f"{prefix}:ticks"
        self.paused = f"{prefix}:paused"
        self.watched = f"{prefix}:watched"
        self.held = f"{prefix}:limits:held"
        self.waiters = f"{prefix}:limits:waiters"
        self.rates = f"{prefix}:limits:rates"
        self.turns = f"{prefix}:limits:turns"
        self.lines = f"{prefix}:limits:lines"
        self.waking = f"{prefix}:limits:waking"
        self.limits = [
            self.rates,
            f"{prefix}:limits:holding",
            f"{prefix}:limits:holders",
            f"{prefix}:limits:promised",
            self.waiters,
            self.held,
            f"{prefix}:limits:specs",
            self.waking,
            self.parked,
            self.moved,
            self.own[Priority.HIGH],
            self.turns,
            self.lines,
        ]
        self.dead = f"{prefix}:dead"
        self.letters = f"{prefix}:letters"
        self.control = f"{prefix}:control"
        self._told = f"{prefix}:told"
        #: What stands before the task id in the name of a record.
        self.record_prefix = f"{prefix}:task:"
        self._output = f"{prefix}:out:"
        self._saved = f"{prefix}:saved:"
        self._arrived = f"{prefix}:arrived:"
        self._key = f"{prefix}:key:"

    @classmethod
    def of(cls, namespace: str, queue: Queue) -> QueueKeys:
        """Keys of a queue; those of an adopted stream are in the stream's slot."""
        if queue.stream is None:
            # A queue's name has no colon, so that a namespace may have some.
            return cls(f"{{{quoted(namespace, '{}')}:{queue.name}}}", queue)
        return cls(_prefix_beside(queue.stream, queue.group_part), queue)

    def record(self, task_id: str) -> str:
        """Record of a task."""
        return self.record_prefix + task_id

    def output(self, task_id: str) -> str:
        """Chunks of a task, and the channel that carries them."""
        return self._output + task_id

    def saved(self, task_id: str) -> str:
        """What the last attempt of a task saved."""
        return self._saved + task_id

    def arrived(self, task_id: str) -> str:
        """Numbers of the tasks that have ended for which a step of a flow waits."""
        return self._arrived + task_id

    def told(self, producer: str) -> str:
        """The channel on which a producer is told the outcomes of its tasks."""
        return f"{self._told}:{producer}" if producer else self._told

    def key(self, task: str, tenant: str, key: str) -> str:
        """Idempotency key of a task function, for one tenant."""
        return self._key + _sized(task, tenant, key)


#: Names of channels with a history must not begin so: such tags are kept for other things.
RESERVED_PREFIXES = ("setting:", "lock:", "output:", "cache:")


class ChannelKeys:
    """Keys of one channel that has a history, or members.

    Args:
        tag: hash tag.
    """

    def __init__(self, tag: str) -> None:
        self.slot = slot_of(tag)
        self.live = tag
        self.history = f"{tag}:history"
        self.members = f"{tag}:members"
        self.positions = f"{tag}:positions"
        self.applied = f"{tag}:applied"

    @classmethod
    def of(cls, namespace: str, channel: str) -> ChannelKeys:
        """Keys of a channel; see `is_reserved` for the names that it must not have."""
        return cls(f"{{{quoted(namespace, ':{}')}:{channel}}}")

    @staticmethod
    def is_reserved(channel: str) -> bool:
        """Whether the keys of a channel of this name would be those of something else."""
        return channel.startswith(RESERVED_PREFIXES)

    @classmethod
    def of_setting(cls, namespace: str, setting: str) -> ChannelKeys:
        """Keys of a setting; no channel has them, as names of channels do not begin so."""
        return cls(f"{{{quoted(namespace, ':{}')}:setting:{setting}}}")


class LockKeys:
    """The key of one lock, and the Redis channel of the same name that tells when it is free."""

    def __init__(self, namespace: str, name: str) -> None:
        self.lock = f"{{{quoted(namespace, '{}')}:lock:{quoted(name, '{}')}}}"
        self.slot = slot_of(self.lock)


class WorkerKeys:
    """Keys of the register of live processes; no queue and no channel has keys of these names."""

    def __init__(self, namespace: str) -> None:
        tag = f"{{{quoted(namespace, '{}')}:workers}}"
        self.slot = slot_of(tag)
        self.register = f"{tag}:register"
        self.info = f"{tag}:info"
