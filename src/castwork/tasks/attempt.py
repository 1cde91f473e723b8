"""Attempt: one delivery of a task to this worker, and the context that its code sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from castwork.model.entry import Entry
from castwork.model.errors import CastworkError
from castwork.tasks.emitter import Emitter
from castwork.tasks.queue import Lane, Queue

if TYPE_CHECKING:
    from castwork.tasks.function import TaskFunction

#: Why an attempt is being ended from outside.
TIMEOUT, CANCEL, LOST, STOP = "timeout", "cancel", "lost", "stop"


class Attempt:
    """One delivery of a task.

    Name of the consumer and `deliveries` together are the fencing token: scripts change
    nothing for an attempt whose token has passed.

    Attributes:
        lane: the lane it came from.
        lane_number: its position in the queue's lanes, from 1.
        entry_id: id of its stream entry.
        deliveries: how often that entry was delivered, this time included.
        fields: the entry as it lies in the stream.
        entry: the entry decoded; None while it is not.
        number: attempts of the task so far, this one included.
        launched_at: loop time when its code began, 0 before.
        started_at: the same in seconds since 1970.
        begun: whether its code can be interrupted; before, `ended_by` keeps it from beginning.
        finished: whether its code is done.
        deadline: loop time when its timeout ends, 0 for none.
        ended_by: why it is ended from outside, empty while it is not.
    """

    __slots__ = (
        "announced",
        "begun",
        "deadline",
        "deliveries",
        "emitter",
        "ended_by",
        "entry",
        "entry_id",
        "fields",
        "finished",
        "function",
        "lane",
        "lane_number",
        "launched_at",
        "make_emitter",
        "number",
        "queue",
        "runner",
        "started_at",
    )

    def __init__(
        self,
        queue: Queue,
        lane_number: int,
        entry_id: bytes,
        deliveries: int,
        fields: list[bytes],
    ) -> None:
        self.queue = queue
        self.lane_number = lane_number
        self.lane: Lane = queue.lanes[lane_number - 1]
        self.entry_id = entry_id
        self.deliveries = deliveries
        self.fields = fields
        self.entry: Entry | None = None
        self.function: TaskFunction[Any, Any] | None = None
        self.number = deliveries
        self.launched_at = 0.0
        self.started_at = 0.0
        self.begun = False
        self.finished = False
        self.deadline = 0.0
        self.announced = False
        self.ended_by = ""
        self.runner: asyncio.Task[None] | None = None
        self.emitter: Emitter | None = None
        self.make_emitter: Callable[[Attempt], Emitter] | None = None

    @property
    def task_id(self) -> str:
        """The task's id; the entry's own where the entry has none."""
        return self.entry.id if self.entry is not None else self.entry_id.decode()

    @property
    def output(self) -> Emitter:
        """Where its chunks go; made on first use, as few tasks have any."""
        if self.emitter is None:
            assert self.make_emitter is not None
            self.emitter = self.make_emitter(self)
        return self.emitter

    @property
    def counted(self) -> int:
        """Attempts that count against the task's budget."""
        meta = self.entry.meta if self.entry is not None else None
        return self.number - (meta.spared if meta is not None else 0)

    @property
    def allowed(self) -> int:
        """Attempts that the task may have."""
        meta = self.entry.meta if self.entry is not None else None
        if meta is not None and meta.max_attempts:
            return meta.max_attempts
        return self.function.settings.attempts if self.function is not None else 1

    def end(self, reason: str) -> None:
        """End it from outside, once; the reason decides what becomes of the task."""
        if not self.ended_by:
            self.ended_by = reason
            # A task that is cancelled before its first step would never run, nor settle.
            if self.begun and self.runner is not None:
                self.runner.cancel()


_current: ContextVar[Attempt] = ContextVar("castwork_attempt")
set_current = _current.set


class Context:
    """What a task function can know and do about the task that it runs for."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self._attempt.task_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    async def progress(self, done: float, message: str = "") -> None:
        """Report progress to whoever follows the task.

        Args:
            done: the part that is done, 0.0 to 1.0.
            message: a word for people.
        """
        await self._attempt.output.emit("progress", {"done": done, "message": message})


def current() -> Context:
    """The context of the running task.

    Raises:
        CastworkError: no task runs here.
    """
    try:
        return Context(_current.get())
    except LookupError:
        raise CastworkError("current() works inside of a running task function only") from None
