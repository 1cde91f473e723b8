"""The options of task functions: as users write them, and as checked settings."""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec

from castwork.model.errors import DefinitionError
from castwork.model.option_values import (
    Check,
    Seconds,
    count,
    duration,
    instance,
    refuse_unknown,
    settle,
    text,
)
from castwork.model.queue import FOREIGN_LEASE, GROUP, check_printable, check_queue_name
from castwork.model.retry import Backoff


class TaskOptions(TypedDict, total=False):
    """What `@app.task(...)` takes; see `TaskSettings` for units and defaults."""

    name: str
    queue: str
    attempts: int
    timeout: Seconds | None
    result_ttl: Seconds
    backoff: Backoff
    stream: str
    group: str
    keep_entries: bool
    foreign_lease: Seconds


_CHECKS: dict[str, Check] = {
    "name": text(empty=False),
    "queue": text(optional=True),
    "attempts": count(),
    "timeout": duration(above_zero=True, optional=True),
    "result_ttl": duration(),
    "backoff": instance(Backoff),
    "stream": text(empty=False, optional=True),
    "group": text(empty=False),
    "keep_entries": instance(bool),
    "foreign_lease": duration(above_zero=True),
}


class TaskSettings(msgspec.Struct, frozen=True):
    """What `@app.task` says about a task function.

    Args:
        name: the function's name on the wire.
        queue: the queue of its tasks, `default` if None; of an adopted stream the name under which
            workers serve it, the stream's own if None.
        attempts: runs that may fail before a task is dead-lettered; with 1 it is not run again
            after a crash of its worker, either.
        timeout: seconds that one attempt may take; None for no bound.
        result_ttl: seconds that the result is kept after the end, 60 or more.
        backoff: waits between attempts.
        stream: a stream of the user's own to adopt, None for none.
        group: the consumer group on that stream.
        keep_entries: leave finished entries in that stream, because others read it too.
        foreign_lease: seconds for which an entry that another program's consumer has taken with
            the same group is left to that program.
    """

    name: str
    queue: str | None = None
    attempts: int = 3
    timeout: float | None = 300.0
    result_ttl: float = 3600.0
    backoff: Backoff = Backoff()
    stream: str | None = None
    group: str = GROUP
    keep_entries: bool = False
    foreign_lease: float = FOREIGN_LEASE

    def __post_init__(self) -> None:
        settle(self, _CHECKS, of=f"task {self.name!r}: ")
        if self.result_ttl < 60:
            raise DefinitionError(
                f"task {self.name!r}: result_ttl must be at least 60 seconds: the record also"
                " keeps a repeated enqueue from doubling the task"
            )
        if self.stream is None:
            self._refuse_stream_options()
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

    @classmethod
    def of(cls, name: str, options: TaskOptions) -> TaskSettings:
        """The settings of a task function that has a name of its own.

        Raises:
            DefinitionError: an option is unknown or has no such value; it is named.
        """
        refuse_unknown(f"task {name!r}", options, cls.__struct_fields__)
        values: dict[str, Any] = {"name": name, **options}
        return cls(**values)
