"""Attempt: one delivery of a task to this worker, on its way from the fetcher to the finisher."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import StrEnum
from time import monotonic, time
from typing import Any, NamedTuple

import msgspec

from castwork.model.delivery import Delivery
from castwork.model.entry import Entry, Meta, parse_entry
from castwork.model.errors import CastworkError, UndecodableEntry
from castwork.model.position import Position
from castwork.model.record import ErrorInfo
from castwork.store.checkpoints import Checkpoints
from castwork.store.outputs import Outputs
from castwork.tasks.result import result_given
from castwork.worker.emitter import Emitter
from castwork.worker.lending import Lending
from castwork.worker.runnable import Runnable


class Ending(StrEnum):
    """Why an attempt is being ended from outside."""

    NOT = ""
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    CANCEL = "cancel"
    LOST = "lost"
    STOP = "stop"


#: `Ending.NOT` by a quick name: looking up a member of an enum is slow, and each attempt needs it.
_NOT = Ending.NOT


#: Milliseconds that the record of a task is kept whose function is not known here.
_UNKNOWN_TTL_MS = 3_600_000


class Origin(NamedTuple):
    """Where attempts come from.

    Attributes:
        queue: name of the queue.
        lane: position of the lane among the queue's lanes.
        is_foreign: whether the lane is an adopted stream, with entries that others write.
        outputs: where chunks of the queue's tasks go.
        checkpoints: where what they save goes.
        lending: lends the slots of attempts that wait for other tasks.
    """

    queue: str
    lane: int
    is_foreign: bool
    outputs: Outputs
    checkpoints: Checkpoints
    lending: Lending


class _OnLoop(AbstractAsyncContextManager[None]):
    """A context manager that is entered and left on another event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, inner: AbstractAsyncContextManager[None]
    ) -> None:
        self._loop = loop
        self._inner = inner

    async def __aenter__(self) -> None:
        await self._run(self._inner.__aenter__())

    async def __aexit__(self, *raised: Any) -> None:
        await self._run(self._inner.__aexit__(*raised))

    async def _run(self, step: Coroutine[Any, Any, Any]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step, self._loop))


class Attempt(Delivery):
    """One delivery of a task, and the state of running it.

    Attributes:
        origin: where the attempt comes from.
        fields: the entry as it lies in the stream.
        args: the arguments as JSON.
        meta: what the task carries beside its call, None for a plain task.
        runnable: the function and how it is called; None while the entry is not understood.
        number: number of attempts of the task so far, this one included.
        launched_at: loop time when `runner` was made, 0 before.
        started_at: time in seconds since 1970 when the code was called, None before.
        begun: whether `runner` takes its first step, and can be interrupted from then on; an
            attempt that is ended before does not call the code.
        finished: whether the code is done.
        expires: loop time of the task's deadline, 0 for none.
        deadline: loop time when the attempt is ended: that of its timeout, or `expires` where that
            is earlier; 0 for none.
        ended_by: why the attempt is ended from outside.
        cancel_reason: why the task is cancelled; empty where nobody said.
        announced: whether the task's record says that it runs.
        runner: the asyncio task of the code.
        emitter: writes the attempt's chunks, None while there are none.
        checkpoint: what this attempt saved, else the last before it; None for nothing.
        returned: the result that the code of a stream has set, as JSON; None for none.
        thread: done when the thread of a plain function is free; None for other functions.
    """

    __slots__ = (
        "announced",
        "args",
        "begun",
        "cancel_reason",
        "checkpoint",
        "deadline",
        "emitter",
        "ended_by",
        "expires",
        "fields",
        "finished",
        "launched_at",
        "meta",
        "number",
        "origin",
        "returned",
        "runnable",
        "runner",
        "started_at",
        "thread",
    )

    def __init__(
        self, origin: Origin, entry_id: bytes, deliveries: int, fields: list[bytes]
    ) -> None:
        self.origin = origin
        self.lane = origin.lane
        self.entry_id = entry_id
        self.deliveries = deliveries
        self.fields = fields
        self.task_id = ""
        self.producer = ""
        self.moved = False
        self.args = b""
        self.meta: Meta | None = None
        self.runnable: Runnable | None = None
        self.number = deliveries
        self.launched_at = 0.0
        self.started_at: float | None = None
        self.begun = False
        self.finished = False
        self.announced = False
        self.expires = 0.0
        self.deadline = 0.0
        self.ended_by = _NOT
        self.cancel_reason = ""
        self.runner: asyncio.Task[None] | None = None
        self.emitter: Emitter | None = None
        self.checkpoint: bytes | None = None
        self.returned: msgspec.Raw | None = None
        self.thread: Future[Any] | None = None

    @property
    def task(self) -> str:
        """Name of the task function, empty where the entry does not tell."""
        if self.runnable is not None:
            return self.runnable.name
        try:
            return parse_entry(self.fields).name
        except UndecodableEntry:
            return ""

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self.origin.queue

    @property
    def output(self) -> Emitter:
        """Writes the attempt's chunks; made on first use, as few tasks have chunks.

        Raises:
            CastworkError: the attempt has ended. No reader would get a chunk that came now, and
                nothing would delete it.
        """
        if self.finished:
            raise CastworkError(f"task {self.task_id} has ended: it has no output any more")
        if self.emitter is None:
            self.emitter = Emitter(self.origin.outputs, self.task_id, self.number)
        return self.emitter

    def wait_to_begin(self) -> float | None:
        """Have the code wait, for other items or a process: its timeout does not run meanwhile.

        Returns:
            The seconds that the code may take, for `begin_now`; None for no bound.
        """
        timeout = self.deadline - monotonic() if self.deadline else None
        self.deadline, self.started_at = self.expires, None
        return timeout

    def begin_now(self, timeout: float | None) -> None:
        """Have the code begin, and its timeout."""
        self.started_at = time()
        if timeout is not None:
            ends = monotonic() + timeout
            self.deadline = min(ends, self.expires or ends)

    async def save(self, state: bytes) -> None:
        """Keep the code's state for the attempts after this one. Raises as `Checkpoints.save`."""
        if self.finished:
            raise CastworkError(f"task {self.task_id} has ended: it saves nothing any more")
        await self.origin.checkpoints.save(self, state)
        self.checkpoint = state

    async def load_checkpoint(self) -> None:
        """Ask for what the attempts before this one saved. Raises as `Checkpoints.load`."""
        self.checkpoint = await self.origin.checkpoints.load(self.task_id)

    def set_result(self, value: Any) -> None:
        """Take the result of a stream from its code; raises as `result_given`."""
        assert self.runnable is not None
        self.returned = result_given(self.runnable.function, value)

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the worker; None once the attempt has ended."""
        return None if self.runner is None else self.runner.get_loop()

    def lend_slot(self) -> AbstractAsyncContextManager[None]:
        """Around a wait for another task: the slot is lent meanwhile.

        A plain function waits on another loop, as by `result_sync`: then the worker's loop lends
        the slot for it.
        """
        home, lent = self.home, self.origin.lending.waiting(self)
        if home is None or home.is_closed():
            return nullcontext()
        return lent if home is asyncio.get_running_loop() else _OnLoop(home, lent)

    @property
    def counted(self) -> int:
        """Attempts that count against the task's budget; those that lost their worker do not."""
        return self.number - self.crashes - self.uncounted - self.waived

    @property
    def waived(self) -> int:
        """Attempts before this one that asked not to be counted."""
        return self.meta.waived if self.meta is not None else 0

    @property
    def uncounted(self) -> int:
        """Attempts before this entry was written that do not count against the budget."""
        return self.meta.uncounted if self.meta is not None else 0

    @property
    def crashes(self) -> int:
        """Workers that were lost with the task in this attempt."""
        return self.deliveries - 1 + (self.meta.crashes if self.meta is not None else 0)

    @property
    def runs(self) -> int:
        """Attempts in which the task's code was begun, this one included if it was."""
        return self.number if self.started_at is not None else self.number - 1

    @property
    def is_serial(self) -> bool:
        """Whether the task stands in a line, in which one at a time runs."""
        return self.meta is not None and bool(self.meta.serial)

    @property
    def allowed(self) -> int:
        """Attempts that the task may have."""
        if self.meta is not None and self.meta.max_attempts:
            return self.meta.max_attempts
        return self.runnable.function.settings.attempts if self.runnable is not None else 1

    @property
    def result_ttl_ms(self) -> int:
        """Milliseconds that the task's record is kept once it has ended."""
        if self.meta is not None and self.meta.result_ttl_ms:
            return self.meta.result_ttl_ms
        return self.runnable.result_ttl_ms if self.runnable is not None else _UNKNOWN_TTL_MS

    @property
    def errors(self) -> list[ErrorInfo]:
        """The task's last failures before this attempt, newest last."""
        return list(self.meta.errors) if self.meta is not None else []

    def entry(self) -> Entry:
        """The entry under which the task can wait again, with task id and time of enqueuing."""
        if self.origin.is_foreign:
            assert self.runnable is not None
            entry = Entry(self.runnable.function.wire_name, b"-", self.args)
        else:
            entry = parse_entry(self.fields)
        entry.id = self.task_id
        entry.at = entry.at or Position.parse(self.entry_id).major
        return entry

    def end(self, reason: Ending) -> None:
        """End the attempt from outside; the first reason decides what becomes of the task."""
        if not self.ended_by:
            self.ended_by = reason
            # An asyncio task that is cancelled before its first step runs no code at all, so that
            # the attempt would get no outcome. `ended_by` ends such an attempt.
            if self.begun and self.runner is not None:
                self.runner.cancel()
