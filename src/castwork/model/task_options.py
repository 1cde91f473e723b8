"""The options of task functions: as users write them, and as checked settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, get_origin

import msgspec

from castwork.model.batch import Batch
from castwork.model.call_options import CallSettings, KeyTaken, KeyUntil, priority, result_ttl
from castwork.model.errors import DefinitionError
from castwork.model.limits import AtOnce, Rate, limits
from castwork.model.option_values import (
    Check,
    Named,
    Seconds,
    choice,
    count,
    duration,
    duration_or_moment,
    instance,
    queue_name,
    refuse_unknown,
    settle,
    text,
)
from castwork.model.queue import FOREIGN_LEASE, GROUP, check_printable, check_queue_name
from castwork.model.retry import Backoff
from castwork.model.schedules import Cron, Every
from castwork.model.states import Priority

#: Where a function runs.
RunIn = Literal["loop", "thread", "process"]


class RemoteOptions(TypedDict, total=False):
    """What `@app.remote(...)` takes: what concerns the tasks, and not how they are run."""

    name: str
    queue: str | Named
    priority: str
    deadline: Seconds | datetime
    key_by: str | Callable[[Any], str]
    key_ttl: Seconds
    key_until: KeyUntil
    key_taken: KeyTaken
    serial_by: str | Callable[[Any], str]
    attempts: int
    timeout: Seconds | None
    result_ttl: Seconds


class TaskOptions(RemoteOptions, total=False):
    """What `@app.task(...)` takes; see `TaskSettings` for units and defaults."""

    old_names: Sequence[str]
    backoff: Backoff
    retry_on: tuple[type[Exception], ...]
    give_up_on: tuple[type[Exception], ...]
    schedule: Cron | Every
    run_in: RunIn
    stream: str
    group: str
    keep_entries: bool
    foreign_lease: Seconds
    limits: Sequence[Rate | AtOnce]


def _names(name: str, given: Any) -> tuple[str, ...]:
    """The check of names: a list of text."""
    if isinstance(given, str) or not all(isinstance(one, str) and one for one in given):
        raise DefinitionError(f"{name} is {given!r:.60}: give a list of names")
    return tuple(given)


def _by(name: str, given: Any) -> Any:
    """The check of what calls are told apart by."""
    if given is None or callable(given):
        return given
    return text(empty=False)(name, given)


def _schedule(name: str, given: Any) -> Any:
    """The check of a schedule."""
    if given is not None and not isinstance(given, Cron | Every):
        raise DefinitionError(f"{name} is {given!r:.60}: give a Cron or an Every")
    return given


def _batch(name: str, given: Any) -> Batch | None:
    """The check of a batch."""
    if given is None or isinstance(given, Batch):
        return given
    if given is True:
        return Batch()
    raise DefinitionError(f"{name} is {given!r:.60}: give a Batch(...)")


def _result(name: str, given: Any) -> Any:
    """The check of the type of a result."""
    if given is not None and not isinstance(given, type) and get_origin(given) is None:
        raise DefinitionError(f"{name} is {given!r:.60}: give the type of the result")
    return given


def _exceptions(name: str, given: Any) -> tuple[type[Exception], ...] | None:
    """The check of classes of exceptions: one, or a tuple of some."""
    if given is None:
        return None
    classes = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(one, type) and issubclass(one, Exception) for one in classes):
        raise DefinitionError(f"{name} is {given!r:.60}: give a tuple of classes of exceptions")
    return classes


_CHECKS: dict[str, Check] = {
    "name": text(empty=False),
    "queue": queue_name(optional=True),
    "priority": priority,
    "deadline": duration_or_moment(above_zero=True, optional=True),
    "key_by": _by,
    "serial_by": _by,
    "key_ttl": duration(least=1, optional=True),
    "key_until": choice("started", "ended", optional=True),
    "key_taken": choice("match", "join", "replace", "debounce"),
    "old_names": _names,
    "attempts": count(),
    "timeout": duration(above_zero=True, optional=True),
    "result_ttl": result_ttl,
    "batch": _batch,
    "result": _result,
    "keep_result": instance(bool),
    "backoff": instance(Backoff),
    "retry_on": _exceptions,
    "give_up_on": _exceptions,
    "schedule": _schedule,
    "run_in": choice("loop", "thread", "process", optional=True),
    "stream": text(empty=False, optional=True),
    "group": text(empty=False),
    "keep_entries": instance(bool),
    "foreign_lease": duration(above_zero=True),
    "limits": limits,
}


class TaskSettings(msgspec.Struct, frozen=True):
    """What `@app.task` says about a task function.

    Args:
        name: the function's name on the wire.
        queue: the queue of its tasks, `default` if None; of an adopted stream the name under which
            workers serve it, the stream's own if None.
        priority: the lane of its tasks, unless a call says another.
        deadline: seconds after which nobody wants a task, or that time: it expires, also while it
            runs.
        key_by: what gives each call its idempotency key: an argument's name, `tenant`, `owner`, or
            a function of the call; None for calls without keys.
        key_ttl: as of a call, for all calls.
        key_until: as of a call, for all calls.
        key_taken: as of a call, for all calls.
        serial_by: what gives each call its line, as of `key_by`: of the tasks of a line one at a
            time runs, in the order of enqueueing, retries included.
        attempts: runs that may fail before a task is dead-lettered; with 1 it is not run again
            after a crash of its worker, either.
        timeout: seconds that one attempt may take; None for no bound.
        result_ttl: seconds that the result is kept after the end, 60 or more.
        old_names: names that the function had before: tasks enqueued under them run, too.
        batch: how many tasks one call of the function takes; None for one each.
        result: of a generator, the type of what `current().set_result` gives; None for the items.
        keep_result: whether the result is kept; else `result()` waits for the end and answers None.
        backoff: waits between attempts.
        retry_on: only these exceptions are tried again, TimeoutError among them for an attempt that
            takes too long; others make a dead letter at once. None for every Exception.
        give_up_on: exceptions that make a dead letter at once.
        schedule: when it runs by itself, without arguments; a `Cron` or an `Every`.
        run_in: `process` for a plain function that computes: a child process of the worker's runs
            it. None for the event loop (coroutine functions) or a thread (plain ones).
        stream: a stream of the user's own to adopt, None for none.
        group: the consumer group on that stream.
        keep_entries: leave finished entries in that stream, because others read it too.
        foreign_lease: seconds for which an entry that another program's consumer has taken with
            the same group is left to that program.
        limits: how often attempts may begin, and how many may run at once, over all workers.
    """

    name: str
    queue: str | None = None
    priority: Priority = Priority.NORMAL
    deadline: float | datetime | None = None
    key_by: str | Callable[[Any], str] | None = None
    key_ttl: float | None = None
    key_until: KeyUntil | None = None
    key_taken: KeyTaken = "match"
    serial_by: str | Callable[[Any], str] | None = None
    attempts: int = 3
    timeout: float | None = 300.0
    result_ttl: float = 3600.0
    old_names: tuple[str, ...] = ()
    batch: Batch | None = None
    result: Any = None
    keep_result: bool = True
    backoff: Backoff = Backoff()
    retry_on: tuple[type[Exception], ...] | None = None
    give_up_on: tuple[type[Exception], ...] = ()
    schedule: Cron | Every | None = None
    run_in: RunIn | None = None
    stream: str | None = None
    group: str = GROUP
    keep_entries: bool = False
    foreign_lease: float = FOREIGN_LEASE
    limits: tuple[Rate | AtOnce, ...] = ()

    def __post_init__(self) -> None:
        settle(self, _CHECKS, of=f"task {self.name!r}: ")
        if self.key_ttl is not None and self.key_until is not None:
            raise DefinitionError(
                f"task {self.name!r}: both key_ttl and key_until are given: a key ends by one"
            )
        if self.key_by is not None and self.key_ttl is None and self.key_until is None:
            raise DefinitionError(
                f"task {self.name!r}: key_by needs an end of its keys: key_until or key_ttl"
            )
        if self.key_by is None and (self.key_ttl or self.key_until or self.key_taken != "match"):
            raise DefinitionError(
                f"task {self.name!r}: key_ttl, key_until and key_taken are about a key: give"
                " key_by, or say them where a call has its key="
            )
        if self.retry_on is not None and self.give_up_on:
            raise DefinitionError(
                f"task {self.name!r}: retry_on says which exceptions are tried again, give_up_on"
                " which are not: give one of them"
            )
        if self.batch is not None and (self.result is not None or not self.keep_result):
            raise DefinitionError(
                f"task {self.name!r}: a batch function returns its results: leave out result and"
                " keep_result"
            )
        if self.result is not None and not self.keep_result:
            raise DefinitionError(
                f"task {self.name!r}: both result and keep_result=False are given: a result that is"
                " not kept has no type"
            )
        if self.stream is None:
            self._refuse_stream_options()
        else:
            self._refuse_queue_options()
        if self.queue is not None:
            check_queue_name(self.queue)
        check_printable("stream", self.stream or "")
        check_printable("group", self.group)

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return self.queue or self.stream or "default"

    def _refuse_stream_options(self) -> None:
        """Refuse what would have no effect."""
        defaults = {"group": GROUP, "keep_entries": False, "foreign_lease": FOREIGN_LEASE}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                raise DefinitionError(
                    f"task {self.name!r}: {name} is of a stream that others write: give stream="
                    " too, or leave it out"
                )

    def _refuse_queue_options(self) -> None:
        """Refuse what entries that others write cannot have."""
        own = (self.priority, self.deadline, self.key_by, self.schedule)
        if own != (Priority.NORMAL, None, None, None):
            raise DefinitionError(
                f"task {self.name!r}: a stream that others write has no priorities, deadlines,"
                " keys and schedules"
            )

    @property
    def call_settings(self) -> CallSettings:
        """What calls of the function have where they say nothing else."""
        settings = CallSettings(
            priority=self.priority,
            deadline=self.deadline,
            key_until=self.key_until,
            key_taken=self.key_taken,
        )
        if self.key_ttl is not None:
            settings = msgspec.structs.replace(settings, key_ttl=self.key_ttl)
        return settings

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> TaskSettings:
        """The settings of a task function that has a name of its own.

        Raises:
            DefinitionError: an option is unknown or has no such value; it is named.
        """
        refuse_unknown(f"task {name!r}", options, cls.__struct_fields__)
        values: dict[str, Any] = {"name": name, **options}
        return cls(**values)
