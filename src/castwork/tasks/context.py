"""Context: what a task function can know and do about the task that it runs for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, Literal, Protocol, cast

from castwork.model.entry import Meta
from castwork.model.errors import CastworkError, LeaseLost


class ChunkWriter(Protocol):
    """Takes the chunks of one attempt."""

    def emit(self, kind: str, data: Any) -> Coroutine[Any, Any, None]:
        """Write a chunk."""


class RunningAttempt(Protocol):
    """What a context asks of the attempt that it stands for."""

    task_id: str
    number: int
    meta: Meta | None

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the worker; None once the attempt has ended."""

    @property
    def ended_by(self) -> str:
        """Why the attempt is ended from outside, empty while it is not."""

    @property
    def output(self) -> ChunkWriter:
        """Where the attempt's chunks go."""

    def lend_slot(self) -> AbstractAsyncContextManager[None]:
        """Around a wait for another task: the slot is lent meanwhile."""


_current: ContextVar[RunningAttempt] = ContextVar("castwork_attempt")
set_current = _current.set


def attempt_here() -> RunningAttempt | None:
    """The attempt that runs here; None outside of tasks."""
    return _current.get(None)


_PLAIN = Meta()

#: Why an attempt is stopped from outside.
EndReason = Literal["cancel", "timeout", "deadline", "stop", "lost"]


class Context:
    """What a task function can know and do about the task that it runs for."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: RunningAttempt) -> None:
        self._attempt = attempt

    @property
    def _meta(self) -> Meta:
        return self._attempt.meta or _PLAIN

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self._attempt.task_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def owner(self) -> str:
        """The task's owner; empty for none."""
        return self._meta.owner

    @property
    def tenant(self) -> str:
        """The owner's tenant; empty for none."""
        return self._meta.tenant

    @property
    def labels(self) -> Mapping[str, str]:
        """What is kept with the task for its function."""
        return self._meta.labels

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that travelled from the caller to the task."""
        return self._meta.headers

    @property
    def ending(self) -> EndReason | None:
        """Why the attempt is being stopped; None while it is not.

        `cancel`: somebody cancelled the task. `timeout`: the attempt took too long, another may
        follow. `deadline`: it is too late for the task, which expires. `stop`: the worker stops,
        and the task goes back uncounted. `lost`: another worker has the task now.
        """
        return cast("EndReason", str(self._attempt.ended_by)) if self._attempt.ended_by else None

    def check(self) -> None:
        """Raise while the attempt is being stopped, for code in threads, which nothing interrupts.

        Call it between steps. Returning early instead would be a success.

        Raises:
            asyncio.CancelledError: the attempt was cancelled, took too long, passed the task's
                deadline, or its worker stops; no `except Exception` holds it up.
            LeaseLost: another worker has the task now.
        """
        ending = self.ending
        if ending == "lost":
            raise LeaseLost(f"another worker has task {self.task_id} now")
        if ending is not None:
            raise asyncio.CancelledError(f"task {self.task_id} is being stopped: {ending}")

    async def progress(self, done: float, message: str = "") -> None:
        """Report progress to those who follow the task, also from a loop in another thread.

        Args:
            done: the part that is done, 0.0 to 1.0.
            message: a word for people.
        """
        emitting = self._attempt.output.emit("progress", {"done": done, "message": message})
        home = self._attempt.home
        if home is None or home is asyncio.get_running_loop():
            await emitting
        else:  # a loop of its own, as a plain function runs with asyncio.run
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(emitting, home))


def current() -> Context:
    """The context of the running task.

    Raises:
        CastworkError: no task runs here.
    """
    try:
        return Context(_current.get())
    except LookupError:
        raise CastworkError("current() works inside of a running task function only") from None
