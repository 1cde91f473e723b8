"""Task: the handle on one call of a task function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import msgspec

from castwork.model.errors import (
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
)
from castwork.model.record import ErrorInfo, Record, encode_record
from castwork.model.states import TaskState
from castwork.redis.connections import Connections
from castwork.redis.scripts import CANCEL
from castwork.tasks.chunks import Chunk, OutputReader
from castwork.tasks.queue import Queue
from castwork.tasks.records import read_record
from castwork.tasks.waiting import wait_for_outcome

R = TypeVar("R", covariant=True)

_ERRORS: dict[TaskState, type[TaskError]] = {
    TaskState.FAILED: TaskFailed,
    TaskState.DEAD: TaskDead,
    TaskState.CANCELLED: TaskCancelled,
    TaskState.EXPIRED: TaskExpired,
}

#: Seconds that a cancelled task's record is kept.
_CANCELLED_TTL = 3600


class TaskStatus(msgspec.Struct, omit_defaults=True):
    """What is known of a task. Times are seconds since 1970 by the worker's clock."""

    task_id: str
    status: TaskState
    queue: str
    task: str = ""
    attempts: int = 0
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorInfo | None = None

    @property
    def value(self) -> Any:
        """The result as plain Python values, None if there is none."""
        return None if self.result is msgspec.UNSET else msgspec.json.decode(self.result)


class Task(Generic[R]):
    """One call of a task function, from any process that knows its id.

    Attributes:
        id: the task id.
        queue: name of its queue.
    """

    __slots__ = ("_connections", "_decode", "_queue", "id")

    def __init__(
        self,
        task_id: str,
        queue: Queue,
        connections: Connections,
        decode: Callable[[bytes], Any],
    ) -> None:
        self.id = task_id
        self._queue = queue
        self._connections = connections
        self._decode = decode

    def __repr__(self) -> str:
        return f"Task({self.id!r})"

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._queue.name

    async def _record(self) -> Record | None:
        return await read_record(self._connections, self._queue.keys, self.id)

    async def result(self, timeout: float | None = None) -> R:
        """Wait for the result; the server tells, nothing is polled.

        Args:
            timeout: seconds, None for no bound.

        Raises:
            ResultTimeout: it has not ended in time; it goes on.
            TaskFailed, TaskDead, TaskCancelled, TaskExpired: it ended without a result.
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        record = await self.outcome(timeout)
        if record.state is not TaskState.SUCCEEDED:
            raise error_of(self.id, record)
        value: R = self._decode(record.result) if record.result is not msgspec.UNSET else None  # type: ignore[assignment]
        return value

    async def outcome(self, timeout: float | None = None) -> Record:
        """Wait for the end and return the record, whatever the outcome.

        Raises:
            ResultTimeout, TaskNotFound: as `result`.
        """
        return await wait_for_outcome(
            self._connections,
            self._queue.keys,
            self.id,
            timeout=timeout,
            must_exist=self._queue.adopted is None,
        )

    async def status(self) -> TaskStatus:
        """Read the task's state now.

        A task shows as `queued` for its first 20 ms of running: announcing it later keeps
        short tasks fast.

        Raises:
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        record = await self._record()
        if record is None:
            raise TaskNotFound(f"no task {self.id}: it never was, or its record expired")
        return status_of(self.id, self._queue.name, record)

    async def cancel(self, timeout: float = 10.0) -> bool:
        """Cancel the task, waiting or running.

        A running coroutine gets `asyncio.CancelledError` at its next await; a function in a
        thread cannot be interrupted, its outcome is dropped.

        Args:
            timeout: seconds to wait until a running task has let go.

        Returns:
            Whether it is cancelled; False if it had ended before, or still runs.

        Raises:
            TaskNotFound: there is no such task.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    state = await self._request_cancel()
                    if state != "running":
                        return state == TaskState.CANCELLED
                    try:
                        record = await self.outcome(timeout=1.0)
                        return record.state is TaskState.CANCELLED
                    except TimeoutError:
                        continue  # the message may have been lost: ask again
        except TimeoutError:
            return False

    async def _request_cancel(self) -> str:
        record = await self._record()
        if record is None and self._queue.adopted is None:
            raise TaskNotFound(f"no task {self.id}: it never was, or its record expired")
        known = record or Record(TaskState.QUEUED)
        cancelled = Record(TaskState.CANCELLED, known.task, attempts=known.attempts)
        keys = self._queue.keys
        reply = await self._connections.scripts.run(
            CANCEL,
            [
                keys.record(self.id),
                keys.scheduled,
                keys.parked,
                keys.entries,
                *keys.lanes.values(),
                keys.output(self.id),
            ],
            [
                self.id,
                encode_record(cancelled),
                _CANCELLED_TTL * 1000,
                keys.control,
                self._queue.group,
            ],
        )
        state = bytes(reply).decode()
        return "running" if state == "unknown" else state

    async def chunks(self, after: str | None = None) -> AsyncIterator[Chunk]:
        """Follow the output until the task ends.

        Every chunk comes once and in order. After a crash of the worker a chunk of kind
        `reset` comes, and then the new attempt's chunks from the start.

        Args:
            after: id of the last chunk that the caller has; None for the beginning.
        """
        async for news in self.events(after):
            if isinstance(news, Chunk):
                yield news

    def events(self, after: str | None = None) -> AsyncGenerator[Chunk | Record, None]:
        """Follow the output and the changes of state; the last item is the final record.

        Raises:
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        must_exist = self._queue.adopted is None
        return OutputReader(
            self._connections, self._queue.keys, self.id, after, must_exist=must_exist
        ).follow()


def status_of(task_id: str, queue: str, record: Record) -> TaskStatus:
    """A record as a status."""
    return TaskStatus(
        task_id,
        record.state,
        queue,
        record.task,
        record.attempts,
        record.worker,
        record.started_at or None,
        record.finished_at or None,
        record.result,
        record.error,
    )


def error_of(task_id: str, record: Record) -> TaskError:
    """The error for a task that ended without a result."""
    error = record.error or ErrorInfo("", record.state.value)
    return _ERRORS[record.state](task_id, error.type, error.message, record.attempts)
