"""The name of every key. No other module formats one.

All keys of a queue share a hash tag, and all keys of a channel do, so that each script
touches one slot of a cluster.
"""

from __future__ import annotations

from castwork.model.states import Priority


def _tag_of(stream: str) -> str:
    """The hash tag under which our keys land in the slot of a foreign stream."""
    start = stream.find("{")
    end = stream.find("}", start + 1)
    if start >= 0 and end > start + 1:
        return stream[start : end + 1]
    return "{" + stream + "}"


class QueueKeys:
    """Keys of one queue, built once.

    Args:
        prefix: hash tag of the queue, and what tells it from others of that tag.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.lanes = {
            priority: f"{prefix}:stream:{priority.value}"
            for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW)
        }
        self.entries = f"{prefix}:entries"
        self.scheduled = f"{prefix}:scheduled"
        self.parked = f"{prefix}:parked"
        self.dead = f"{prefix}:dead"
        self.control = f"{prefix}:control"
        self._record = f"{prefix}:task:"
        self._output = f"{prefix}:out:"
        self._key = f"{prefix}:key:"

    @classmethod
    def of_queue(cls, namespace: str, queue: str) -> QueueKeys:
        """Keys of a queue of castwork's own."""
        return cls(f"{{{namespace}:{queue}}}")

    @classmethod
    def of_stream(cls, stream: str, group: str) -> QueueKeys:
        """Keys beside an adopted stream, in its slot; each group of it has its own."""
        return cls(f"{_tag_of(stream)}:{group}")

    def record(self, task_id: str) -> str:
        """Record of a task, and the channel that announces its changes."""
        return self._record + task_id

    def output(self, task_id: str) -> str:
        """Chunks of a task, and the channel that carries them."""
        return self._output + task_id

    def key(self, key: str) -> str:
        """Idempotency key."""
        return self._key + key


class ChannelKeys:
    """Keys of one channel that has a history, or members."""

    def __init__(self, namespace: str, channel: str) -> None:
        tag = f"{{{namespace}:{channel}}}"
        self.live = tag
        self.history = f"{tag}:history"
        self.members = f"{tag}:members"
        self.positions = f"{tag}:positions"
        self.applied = f"{tag}:applied"


class WorkerKeys:
    """Keys of the register of live processes."""

    def __init__(self, namespace: str) -> None:
        self.members = f"{{{namespace}:workers}}"
        self.info = f"{{{namespace}:workers}}:info"
