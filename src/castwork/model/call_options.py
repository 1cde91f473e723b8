"""The options of calls: as users write them, and as checked settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.option_values import (
    LONGEST,
    Check,
    Seconds,
    count,
    duration,
    refuse_unknown,
    text,
)
from castwork.model.states import Priority

#: Labels, bytes of a label, and bytes of all headers that may travel with a task.
_LABELS, _LABEL_BYTES, _HEADER_BYTES = 16, 200, 8192


class CallOptions(TypedDict, total=False):
    """What `TaskFunction.options` takes; see `CallSettings` for units."""

    priority: str
    delay: Seconds
    id: str
    key: str
    key_ttl: Seconds
    deadline: Seconds
    attempts: int
    timeout: Seconds | None
    owner: str
    tenant: str
    labels: Mapping[str, str]
    headers: Mapping[str, str]


class CallSettings(msgspec.Struct, frozen=True):
    """What `task.options(...)` says about a call; equal settings have equal hashes.

    Args:
        priority: the lane.
        delay: seconds to wait before the task is queued.
        id: the caller's own id; a second enqueue with the id returns the first task.
        key: idempotency key; a second enqueue with the key returns the first task.
        key_ttl: seconds that the key is remembered.
        deadline: seconds after which nobody wants the task: it expires, also while it runs.
        attempts: replaces the task function's `attempts`.
        timeout: replaces the task function's `timeout`, in seconds; None keeps that one.
        owner: the task's owner.
        tenant: the owner's tenant; equal keys of different tenants do not meet.
        labels: what is kept with the task for its function, as sorted pairs.
        headers: sorted pairs that travel from the caller to the task.
    """

    priority: Priority = Priority.NORMAL
    delay: float = 0.0
    id: str | None = None
    key: str | None = None
    key_ttl: float = 86_400.0
    deadline: float | None = None
    attempts: int | None = None
    timeout: float | None = None
    owner: str = ""
    tenant: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

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
        return msgspec.structs.replace(self, **values)


def _priority(_name: str, value: str) -> Priority:
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


_CHECKS: dict[str, Check] = {
    "priority": _priority,
    "delay": duration(),
    "id": text(empty=False, optional=True),
    "key": _key,
    "key_ttl": duration(least=1),
    "deadline": duration(above_zero=True, optional=True),
    "attempts": count(optional=True),
    "timeout": _timeout,
    "owner": text(),
    "tenant": text(),
    "labels": _pairs,
    "headers": _pairs,
}
