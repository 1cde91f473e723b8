"""The options of calls: as users write them, and as checked settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

import msgspec

from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.option_values import (
    LONGEST,
    Check,
    Named,
    Seconds,
    choice,
    count,
    duration,
    duration_or_moment,
    flag,
    moment,
    queue_name,
    refuse_unknown,
    text,
)
from castwork.model.states import Priority

#: Labels, bytes of a label, and bytes of all headers that may travel with a task.
_LABELS, _LABEL_BYTES, _HEADER_BYTES = 16, 200, 8192


KeyUntil = Literal["started", "ended"]
KeyTaken = Literal["match", "join", "replace", "debounce"]


class CallOptions(TypedDict, total=False):
    """What `TaskFunction.options` takes; see `CallSettings` for units."""

    queue: str | Named
    priority: str
    delay: Seconds
    at: datetime
    id: str
    key: str
    key_ttl: Seconds
    key_until: KeyUntil
    key_taken: KeyTaken
    deadline: Seconds | datetime
    attempts: int
    timeout: Seconds | None
    result_ttl: Seconds
    owner: str
    tenant: str
    labels: Mapping[str, str]
    headers: Mapping[str, str]
    cancel_on_disconnect: bool


class CallSettings(msgspec.Struct, frozen=True):
    """What `task.options(...)` says about a call; equal settings have equal hashes.

    Args:
        queue: name of the queue; None for the function's own.
        priority: the lane.
        delay: seconds to wait before the task is queued.
        at: the time at which the task is queued instead, by the clock of who enqueues it.
        id: the caller's own id; a second enqueue with the id returns the first task.
        key: idempotency key; a second enqueue with the key returns the first task.
        key_ttl: seconds that the key is remembered.
        key_until: `started` or `ended`: the key is free again then, and has no `key_ttl`.
        key_taken: what a second enqueue with the key does: `match` finds the first task, and
            refuses other arguments; `join` finds it whatever they are; `replace` gives the task
            these arguments while it waits; `debounce` begins its delay anew as well.
        deadline: seconds after which nobody wants the task, or that time by the clock of who
            enqueues it: the task expires, also while it runs.
        attempts: replaces the task function's `attempts`.
        timeout: replaces the task function's `timeout`, in seconds; None keeps that one.
        result_ttl: replaces the task function's `result_ttl`, in seconds; None keeps that one.
        owner: the task's owner.
        tenant: the owner's tenant; equal keys of different tenants do not meet.
        labels: what is kept with the task for its function, as sorted pairs.
        headers: sorted pairs that travel from the caller to the task.
        cancel_on_disconnect: whether the task is cancelled when nobody has followed it or waited
            for it for ten seconds, from its start on.
    """

    queue: str | None = None
    priority: Priority = Priority.NORMAL
    delay: float = 0.0
    at: datetime | None = None
    id: str | None = None
    key: str | None = None
    key_ttl: float = 86_400.0
    key_until: KeyUntil | None = None
    key_taken: KeyTaken = "match"
    deadline: float | datetime | None = None
    attempts: int | None = None
    timeout: float | None = None
    result_ttl: float | None = None
    owner: str = ""
    tenant: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    cancel_on_disconnect: bool = False

    def replaced(self, options: CallOptions) -> CallSettings:
        """The same settings with some options changed.

        Raises:
            DefinitionError: an option is unknown or has no such value.
            InvalidArguments: labels or headers are not text, or too many or too long.
        """
        values: dict[str, Any] = {}
        for name, given in options.items():
            check = _CHECKS.get(name)
            if check is None:
                refuse_unknown("a call", [name], _CHECKS)
            else:
                values[name] = check(name, given)
        if "key_ttl" in values and values.get("key_until"):
            raise DefinitionError("both key_ttl and key_until are given: a key ends by one of them")
        if "key_ttl" in values:
            values.setdefault("key_until", None)
        if values.get("at") is not None and values.get("delay"):
            raise DefinitionError("both delay and at are given: a task waits for one time")
        if values.get("at") is not None:
            values.setdefault("delay", 0.0)
        elif values.get("delay"):
            values.setdefault("at", None)
        return msgspec.structs.replace(self, **values)

    @property
    def names_moments(self) -> bool:
        """Whether something is said as a point in time, and so depends on the time of the call."""
        return self.at is not None or isinstance(self.deadline, datetime)

    def from_now(self, now: float) -> CallSettings:
        """The same with points in time as seconds from now on.

        Args:
            now: seconds since 1970.
        """
        delay, deadline = self.delay, self.deadline
        if self.at is not None:
            delay = max(0.0, self.at.timestamp() - now)
        if isinstance(deadline, datetime):
            deadline = max(0.001, deadline.timestamp() - now)
        return msgspec.structs.replace(self, delay=delay, at=None, deadline=deadline)


def priority(_name: str, value: str) -> Priority:
    """The check of a priority."""
    try:
        return Priority(value)
    except ValueError:
        raise DefinitionError(f"no priority {value!r}: use high, normal or low") from None


def _pairs(name: str, given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, Mapping) or not all(
        isinstance(part, str) for pair in given.items() for part in pair
    ):
        raise InvalidArguments(f"{name} are text by text", field=name)
    pairs = tuple(sorted(given.items()))
    try:
        sizes = [len(key.encode()) + len(value.encode()) for key, value in pairs]
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"{name} have text that is no UTF-8: {error}", field=name) from error
    if name == "labels" and (len(pairs) > _LABELS or max(sizes, default=0) > _LABEL_BYTES):
        raise InvalidArguments(
            f"at most {_LABELS} labels of {_LABEL_BYTES} bytes travel with a task", field=name
        )
    if name == "headers" and sum(sizes) > _HEADER_BYTES:
        raise InvalidArguments(
            f"at most {_HEADER_BYTES:,} bytes of headers travel with a task", field=name
        )
    return pairs


def _key(name: str, given: str | None) -> str | None:
    if given == "":
        raise DefinitionError("key is empty: all such calls would be the same task")
    key: str | None = text(optional=True)(name, given)
    return key


def _timeout(name: str, given: Seconds | None) -> float:
    """The timeout of a call; a call without a bound gets one that no attempt lives to see."""
    if given is None:
        return LONGEST
    value: float = duration(above_zero=True, optional=True)(name, given)
    return value


def result_ttl(name: str, given: Seconds) -> float:
    """The check of how long a record is kept."""
    value: float = duration()(name, given)
    if value < 60:
        raise DefinitionError(
            f"{name} must be at least 60 seconds: the record also keeps a repeated enqueue from"
            " doubling the task"
        )
    return value


_CHECKS: dict[str, Check] = {
    "queue": queue_name(),
    "priority": priority,
    "delay": duration(),
    "at": moment,
    "id": text(empty=False, optional=True),
    "key": _key,
    "key_ttl": duration(least=1),
    "key_until": choice("started", "ended"),
    "key_taken": choice("match", "join", "replace", "debounce"),
    "deadline": duration_or_moment(above_zero=True, optional=True),
    "attempts": count(optional=True),
    "timeout": _timeout,
    "result_ttl": result_ttl,
    "owner": text(),
    "tenant": text(),
    "labels": _pairs,
    "headers": _pairs,
    "cancel_on_disconnect": flag,
}
