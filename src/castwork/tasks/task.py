"""Task: the handle on one call of a task function."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any, Generic, Self, TypeVar

import msgspec

from castwork.model.chunk import CHUNK, RESET, TRIMMED, Chunk
from castwork.model.codec import decode_any
from castwork.model.errors import (
    InvalidArguments,
    NotEnded,
    OutputReset,
    OutputTrimmed,
    RemoteTraceback,
    ResultNotKept,
    ResultUnreadable,
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    UndecodableEntry,
)
from castwork.model.option_values import Seconds, patience
from castwork.model.record import ErrorInfo, Record, TaskFacts, TaskStatus, status_of
from castwork.model.states import TaskState
from castwork.redis.portal import portal
from castwork.store.queue_store import QueueStore
from castwork.tasks.again import enqueue_again
from castwork.tasks.before import steps_before
from castwork.tasks.chunks import OutputReader
from castwork.tasks.waiting import wait_for_outcome

R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

_ERRORS: dict[TaskState, type[TaskError]] = {
    TaskState.FAILED: TaskFailed,
    TaskState.DEAD: TaskDead,
    TaskState.CANCELLED: TaskCancelled,
    TaskState.EXPIRED: TaskExpired,
}

#: Seconds for which a task that this process enqueued is known to exist; any record is kept for
#: longer.
_KNOWN_FOR = 45.0


class Task(Generic[R_co]):
    """One call of a task function, from any process that knows its id.

    Attributes:
        id: the task id.
        created: whether this call of `enqueue` made the task. False when an earlier task had its
            id or key, and for a handle that was made from an id.
    """

    __slots__ = ("_decode", "_is_watched", "_since", "_store", "created", "id")

    def __init__(
        self,
        task_id: str,
        store: QueueStore,
        decode: Callable[[bytes], Any],
        *,
        created: bool = False,
        since: float | None = None,
        is_watched: bool = False,
    ) -> None:
        self.id = task_id
        self.created = created
        self._store = store
        self._decode = decode
        self._since = since
        self._is_watched = is_watched

    def __repr__(self) -> str:
        return f"Task({self.id!r})"

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._store.queue.name

    async def result(self, timeout: Seconds | None = None) -> R_co:
        """Wait for the result. The server tells the outcome; nothing is polled.

        Args:
            timeout: seconds or a `timedelta`, None for no bound.

        Raises:
            ResultTimeout: the task has not ended in time; it goes on.
            TaskFailed, TaskDead, TaskCancelled, TaskExpired: the task ended without a result.
            ResultNotKept: the task is a stream that ended well, and its items are too much to be
                kept as a result.
            ResultUnreadable: the result is not of the type that the function declares here.
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        record = await self._outcome(timeout)
        if record.status is not TaskState.SUCCEEDED:
            raise error_of(self.id, record)
        if record.result is msgspec.UNSET:
            if record.error is not None:
                raise ResultNotKept(self.id, record.error.message)
            return None  # type: ignore[return-value]
        try:
            value: R_co = self._decode(record.result)
        except Exception as error:  # of msgspec, or of a type's own code
            said = f"its result is not of the type that is declared here: {error}"
            raise ResultUnreadable(self.id, type(error).__name__, said, record.attempts) from error
        return value

    def result_sync(self, timeout: Seconds | None = None) -> R_co:
        """`result` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.run("result", lambda: self._twin.result(timeout))

    async def wait(self, timeout: Seconds | None = None) -> TaskStatus:
        """Wait for the end and return the final status, whatever the outcome.

        Raises:
            ResultTimeout, TaskNotFound: as `result`.
        """
        return status_of(self.id, self.queue, await self._outcome(timeout))

    def wait_sync(self, timeout: Seconds | None = None) -> TaskStatus:
        """`wait` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.run("wait", lambda: self._twin.wait(timeout))

    async def _outcome(self, timeout: Seconds | None) -> Record:
        bound = patience("timeout", timeout)
        since = self._since
        if since is not None and time.monotonic() - since > _KNOWN_FOR:
            since = self._since = None
        record = await wait_for_outcome(
            self._store, self.id, timeout=bound, since=since, is_watched=self._is_watched
        )
        self._since = None  # a dead task may be queued again: from now on the server is asked
        return record

    async def status(self) -> TaskStatus:
        """Read the task's state now; of a step of a flow also that of the steps before it.

        A task shows as `queued` for its first 20 ms of running: announcing it later keeps
        short tasks fast.

        Raises:
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        record = await self._store.records.read(self.id)
        if record is None:
            raise TaskNotFound(f"no task {self.id}: it never was, or its record expired")
        status = status_of(self.id, self.queue, record)
        if record.step is not None:
            status.steps = await steps_before(status, self._store)
        return status

    def status_sync(self) -> TaskStatus:
        """`status` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.run("status", self._twin.status)

    async def arguments(self) -> Any:
        """The arguments by name, as plain values, while the task waits, runs or is dead; else None.

        Raises:
            ConnectionFailed: no server in time.
            UndecodableEntry: what lies there is no task.
        """
        raw = await self._store.entries.arguments(self.id)
        try:
            return None if raw is None else decode_any(raw)
        except (ValueError, RecursionError) as error:
            raise UndecodableEntry(f"the arguments of task {self.id} are no JSON") from error

    async def again(self) -> Self:
        """Enqueue a new task with the same function, arguments, owner, tenant, labels and headers.

        The new task has an id of its own, and no key. Wrappers around enqueues are not called.

        Raises:
            TaskNotFound: the arguments are gone: they are kept while a task waits, runs or is dead.
            DefinitionError: the task's queue adopts a stream.
            QueueFull, ConnectionFailed: as of an enqueue.
        """
        return self._with_id(await enqueue_again(self._store, self.id))

    def again_sync(self) -> Self:
        """`again` for callers without an event loop; raises as it, and WouldBlock."""
        return self._with_id(portal.run("again", lambda: self._again(self._twin)))

    @staticmethod
    async def _again(twin: Task[Any]) -> str:
        return (await twin.again()).id

    def _with_id(self, task_id: str) -> Self:
        """The handle on a task that has just been made, and is like this one."""
        made = copy.copy(self)
        made.id, made.created, made._since = task_id, True, time.monotonic()
        return made

    async def forget(self) -> None:
        """Delete what is kept of the task, which has ended: its record, its output, its letter.

        Its own id is free then. A key that has a `key_ttl` stays for that time.

        Raises:
            NotEnded: the task waits or runs.
            ConnectionFailed: no server in time.
        """
        records, letters = self._store.records, self._store.letters
        letter = await letters.find(self.id)
        if letter is not None and await letters.purge(letter):
            return
        known = await records.read(self.id)
        if known is not None and not (known.status.is_final and await records.forget(self.id)):
            raise NotEnded(f"task {self.id} has not ended: cancel it first")

    def forget_sync(self) -> None:
        """`forget` for callers without an event loop; raises as it, and WouldBlock."""
        portal.run("forget", self._twin.forget)

    async def cancel(self, reason: str = "", *, timeout: Seconds = 10.0) -> bool:
        """Cancel the task, waiting or running.

        A running coroutine gets `asyncio.CancelledError` at its next await. A function in a
        thread cannot be interrupted; its outcome is dropped.

        Args:
            reason: why: `current().cancel_reason` for the function, and in the error of who waits.
            timeout: seconds to wait until a running task has let go; 0 to send the cancel and
                wait for nothing.

        Returns:
            Whether the task is cancelled; False if it had ended before, or still runs.

        Raises:
            TaskNotFound: there is no such task.
        """
        bound = patience("timeout", timeout)
        self._check_reason(reason)
        status = await self._request_cancel(
            reason
        )  # outside of the bound: however short, it is sent
        if status is TaskState.RUNNING and bound != 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(bound):
                    status = await self._until_ended(reason)
        return status is TaskState.CANCELLED

    def cancel_sync(self, reason: str = "", *, timeout: Seconds = 10.0) -> bool:
        """`cancel` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.run("cancel", lambda: self._twin.cancel(reason, timeout=timeout))

    @staticmethod
    def _check_reason(reason: str) -> None:
        if not isinstance(reason, str):
            raise InvalidArguments(
                f"the reason for a cancel is text, not {reason!r:.60}: say timeout= by its name",
                field="reason",
            )

    async def _until_ended(self, reason: str) -> TaskState:
        """Wait until a task that runs has ended, and ask again for its cancel meanwhile."""
        while True:
            try:
                return (await self._outcome(timeout=1.0)).status
            except TimeoutError:  # the message may have been lost
                status = await self._request_cancel(reason)
                if status is not TaskState.RUNNING:
                    return status

    async def _request_cancel(self, reason: str) -> TaskState:
        records = self._store.records
        record = await records.read(self.id)
        if record is None:
            raise TaskNotFound(f"no task {self.id}: it never was, or its record expired")
        following = await self._following(record)
        status = await records.cancel(self.id, record, following, reason=reason[:1000])
        return TaskState.RUNNING if status is None else status

    async def _following(self, record: Record) -> bytes:
        """What follows if the task is cancelled now."""
        cancelled = msgspec.structs.replace(record, status=TaskState.CANCELLED)
        status = status_of(self.id, self.queue, cancelled)
        if not self._store.follow_up(status):
            return b""
        with suppress(UndecodableEntry):
            status.arguments = await self.arguments()
        return self._store.follow_up(status)

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

    def chunks_sync(self, after: str | None = None) -> Iterator[Chunk]:
        """`chunks` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.iterate("chunks", lambda: self._twin.chunks(after))

    @property
    def _twin(self) -> Self:
        """The same task for the portal."""
        store, since = self._store.twin, self._since
        return type(self)(
            self.id,
            store,
            self._decode,
            created=self.created,
            since=since,
            is_watched=self._is_watched,
        )

    def events(self, after: str | None = None) -> AsyncGenerator[Chunk | Record, None]:
        """Follow the output and the changes of state; the last item is the final record.

        Raises:
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        return OutputReader(self._store, self.id, after).follow()


class StreamTask(Task[R_co], Generic[R_co, C_co]):
    """One call of a task function that streams items."""

    __slots__ = ("load_item",)

    #: Checks one item, and makes it of the declared type.
    load_item: Callable[[Any], C_co]

    async def items(self) -> AsyncIterator[C_co]:
        """The items that the function yields, and nothing else, until it has ended.

        A new attempt that begins before the first item goes unnoticed.

        Raises:
            TaskFailed, TaskDead, TaskCancelled, TaskExpired: the task ended without a result.
            OutputReset: a new attempt began after items were taken; begin anew.
            OutputTrimmed: items are missing, as the output holds `Limits.output` chunks.
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        taken = False
        async with aclosing(self.events()) as events:
            async for news in events:
                if not isinstance(news, Chunk):
                    if news.status.is_final and news.status is not TaskState.SUCCEEDED:
                        raise error_of(self.id, news)
                elif news.kind == CHUNK:
                    taken = True
                    yield self.load_item(news.data)
                elif news.kind == TRIMMED:
                    raise OutputTrimmed(f"task {self.id}: items are missing: {news.data}")
                elif news.kind == RESET and taken:
                    raise OutputReset(f"task {self.id}: a new attempt began, and starts over")

    def items_sync(self) -> Iterator[C_co]:
        """`items` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.iterate("items", self._twin.items)

    @property
    def _twin(self) -> Self:
        twin = super()._twin
        twin.load_item = self.load_item
        return twin


def error_of(task_id: str, facts: TaskFacts) -> TaskError:
    """The error for a task that ended without a result; the worker's traceback is its cause."""
    error = facts.error or ErrorInfo("", facts.status.value)
    made = _ERRORS[facts.status](task_id, error.type, error.message, facts.attempts)
    if error.traceback:
        made.__cause__ = RemoteTraceback(error.traceback)
    return made
