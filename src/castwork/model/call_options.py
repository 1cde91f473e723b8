"""The options of calls: as users write them, and as checked settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.states import Priority

#: Labels, bytes of a label, and bytes of all headers that may travel with a task.
_LABELS, _LABEL_BYTES, _HEADER_BYTES = 16, 200, 8192


class CallOptions(TypedDict, total=False):
    """What `TaskFunction.options` takes; see `CallSettings` for units."""

    priority: str
    delay: float
    id: str
    key: str
    key_ttl: float
    deadline: float
    attempts: int
    timeout: float
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
        deadline: seconds after which it is too late to start; the task then expires.
        attempts: replaces the task function's `attempts`.
        timeout: replaces the task function's `timeout`, in seconds.
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

    def __post_init__(self) -> None:
        if self.key_ttl < 1:
            raise DefinitionError("key_ttl must be at least 1 second")
        if self.key == "":
            raise DefinitionError("key is empty: all such calls would be the same task")

    def replaced(self, options: CallOptions) -> CallSettings:
        """The same settings with some options changed.

        Raises:
            DefinitionError: an option is unknown or has no such value.
            InvalidArguments: labels or headers are not text, or too many or too long.
        """
        values: dict[str, Any] = dict(options)
        if "priority" in values:
            values["priority"] = _priority(values["priority"])
        for name in ("labels", "headers"):
            if name in values:
                values[name] = _pairs(name, values[name])
        try:
            return msgspec.structs.replace(self, **values)
        except DefinitionError:  # a value was refused; it is a TypeError, too
            raise
        except TypeError as error:
            raise DefinitionError(f"no such option: {error}") from error


def _priority(value: str) -> Priority:
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
