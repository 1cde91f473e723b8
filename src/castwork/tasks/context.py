"""Context: what a task function can know and do about the task that it runs for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from time import monotonic
from typing import Any, Literal, Protocol, TypeVar, cast

from castwork.model.chunk import OWN_KINDS, PROGRESS
from castwork.model.codec import encode_value
from castwork.model.entry import Meta
from castwork.model.errors import (
    CastworkError,
    DefinitionError,
    InvalidArguments,
    LeaseLost,
    WouldBlock,
)
from castwork.model.json_types import make_decoder
from castwork.redis.portal import portal
from castwork.redis.threads import loop_here

T = TypeVar("T")


class ChunkWriter(Protocol):
    """Takes the chunks of one attempt."""

    def emit(self, kind: str, data: Any) -> Coroutine[Any, Any, None]:
        """Write a chunk."""


class RunningAttempt(Protocol):
    """What a context asks of the attempt that it stands for."""

    task_id: str
    number: int
    meta: Meta | None
    deadline: float
    expires: float
    cancel_reason: str
    checkpoint: bytes | None

    @property
    def queue(self) -> str:
        """Name of the queue."""

    @property
    def allowed(self) -> int:
        """Attempts that the task may have."""

    @property
    def counted(self) -> int:
        """Attempts that count against them, this one included."""

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the worker; None once the attempt has ended."""

    @property
    def ended_by(self) -> str:
        """Why the attempt is ended from outside, empty while it is not."""

    @property
    def output(self) -> ChunkWriter:
        """Where the attempt's chunks go."""

    def set_result(self, value: Any) -> None:
        """Take the result of a stream from its code."""

    def save(self, state: bytes) -> Coroutine[Any, Any, None]:
        """Keep the code's state for the attempts after this one."""

    def lend_slot(self) -> AbstractAsyncContextManager[None]:
        """Around a wait for another task: the slot is lent meanwhile."""


_current: ContextVar[RunningAttempt] = ContextVar("castwork_attempt")
set_current = _current.set


def attempt_here() -> RunningAttempt | None:
    """The attempt that runs here; None outside of tasks."""
    return _current.get(None)


def refuse_in_coroutine(name: str) -> None:
    """Raise WouldBlock on the event loop of the worker whose task runs here."""
    attempt = attempt_here()
    if attempt is not None and attempt.home is not None and attempt.home is loop_here():
        raise WouldBlock(
            f"{name}_sync would block the worker's event loop, and all its tasks: await"
            f" {name}(...) in a coroutine"
        )


portal.guards.append(refuse_in_coroutine)

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
    def attempts_left(self) -> int:
        """Attempts that may follow this one when it fails; 0 for the last."""
        return max(0, self._attempt.allowed - self._attempt.counted)

    @property
    def queue(self) -> str:
        """Name of the task's queue."""
        return self._attempt.queue

    @property
    def time_left(self) -> float | None:
        """Seconds until the attempt's timeout or the task's deadline, whichever is first.

        None without either; below 0 once it has passed.
        """
        return self._attempt.deadline - monotonic() if self._attempt.deadline else None

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

    @property
    def cancel_reason(self) -> str:
        """What who cancelled the task gave as the reason; empty for nothing."""
        return self._attempt.cancel_reason

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

    async def emit(self, kind: str, data: Any) -> None:
        """Write a chunk of a kind of one's own, for those who follow the task.

        Args:
            kind: the chunk's kind; castwork's own are refused.
            data: anything with a JSON form.

        Raises:
            InvalidArguments: the kind is castwork's own, or the data has no JSON form.
            LeaseLost: a later attempt has begun.
        """
        if kind in OWN_KINDS or not kind.isidentifier():
            raise InvalidArguments(
                f"{kind!r} is no kind of one's own chunks: use a word of letters, digits and _, and"
                f" none of {', '.join(sorted(OWN_KINDS))}",
                field="kind",
            )
        await self._send(kind, data)

    def emit_sync(self, kind: str, data: Any) -> None:
        """`emit` for plain functions; raises as it, and WouldBlock in a coroutine."""
        self._run_at_home("emit", lambda: self.emit(kind, data))

    async def progress(self, done: float, message: str = "") -> None:
        """Report progress to those who follow the task, also from a loop in another thread.

        Args:
            done: the part that is done, 0.0 to 1.0.
            message: a word for people.
        """
        await self._send(PROGRESS, {"done": done, "message": message})

    def progress_sync(self, done: float, message: str = "") -> None:
        """`progress` for plain functions; raises as it, and WouldBlock in a coroutine."""
        self._run_at_home("progress", lambda: self.progress(done, message))

    def set_result(self, value: Any) -> None:
        """Set the result of a generator that is declared with `@app.task(result=...)`.

        The last value counts. Without any, the task's result is None.

        Raises:
            DefinitionError: the function is not declared with `result=`.
            InvalidArguments: the value is not of the declared type.
        """
        self._attempt.set_result(value)

    def saved(self, kind: type[T]) -> T | None:
        """What this task saved last, in this attempt or one before; None for nothing.

        It is kept until the task ends, and with a dead letter, so that a replay goes on from there;
        for seven days without another save.

        Args:
            kind: the type that was saved: a dataclass, a struct, a Pydantic model, a dict ...

        Raises:
            InvalidArguments: what was saved is not of this type, as after a change of the code.
        """
        raw = self._attempt.checkpoint
        if raw is None:
            return None
        try:
            value: T = make_decoder(kind, "saved")(raw)
        except DefinitionError:
            raise
        except Exception as error:  # of msgspec, or of a type's own code
            raise InvalidArguments(
                f"what task {self.task_id} saved is no {getattr(kind, '__name__', kind)}: {error}",
                field="saved",
            ) from error
        return value

    async def save(self, state: Any) -> None:
        """Keep a state from which the next attempt can go on, in place of the last one saved.

        When it returns, the server has the state. Work that was done behind the last save is done
        again after a crash.

        Args:
            state: anything with a JSON form, of at most `Limits.payload` bytes.

        Raises:
            NoJsonForm: the state has no JSON form.
            PayloadTooLarge: the state is over the limit.
            LeaseLost: another worker has the task now.
            ConnectionFailed: no server in time.
        """
        await self._at_home(self._attempt.save(encode_value(state)))

    def save_sync(self, state: Any) -> None:
        """`save` for plain functions; raises as it, and WouldBlock in a coroutine."""
        self._run_at_home("save", lambda: self.save(state))

    def _run_at_home(self, name: str, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine on the worker's loop, and wait for it."""
        refuse_in_coroutine(name)
        home = self._attempt.home
        if home is None:
            raise CastworkError(f"task {self.task_id} has ended: it writes nothing any more")
        asyncio.run_coroutine_threadsafe(make(), home).result()

    async def _send(self, kind: str, data: Any) -> None:
        await self._at_home(self._attempt.output.emit(kind, data))

    async def _at_home(self, step: Coroutine[Any, Any, None]) -> None:
        """Await what must run on the worker's loop."""
        home = self._attempt.home
        if home is None or home is asyncio.get_running_loop():
            await step
        else:  # a loop of its own, as a plain function runs with asyncio.run
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step, home))


def current() -> Context:
    """The context of the running task.

    Raises:
        CastworkError: no task runs here.
    """
    try:
        return Context(_current.get())
    except LookupError:
        raise CastworkError("current() works inside of a running task function only") from None
