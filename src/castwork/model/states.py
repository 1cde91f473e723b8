"""The states of a task: the same strings in Python, Redis, HTTP and metrics."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """What a task is doing.

    `scheduled` waits for a time (a delay or a retry), `queued` waits for a worker. The last
    five are final: the record then has its outcome and does not change any more.
    """

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"

    @property
    def is_final(self) -> bool:
        """Whether the task has ended."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {
        TaskState.SUCCEEDED,
        TaskState.FAILED,
        TaskState.CANCELLED,
        TaskState.EXPIRED,
        TaskState.DEAD,
    }
)


class Priority(StrEnum):
    """The lane of a queue that a task waits in."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
