"""Limited: the limits of one task function, and which of their keys a call has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from castwork.model.entry import wire_name
from castwork.model.limits import AtOnce, Limit, rank, refuse_whose
from castwork.model.signature import Signature
from castwork.model.task_options import TaskSettings
from castwork.tasks.by import By, key_of, key_of_any
from castwork.tasks.call import Call

#: Letters of a key that stands on the server as it is.
_LONGEST = 200

_KeyOf = Callable[[Call[Any]], str]


class LimitOf(NamedTuple):
    """A limit of one call.

    Attributes:
        name: the key under which the server knows it.
        key: what `by` gave.
        limit: the limit.
    """

    name: str
    key: str
    limit: Limit

    @property
    def spec(self) -> tuple[str, str]:
        """Its key, and what the server is told of it now; raises what the user's function does."""
        return self.name, self.limit.spec(self.key)

    @property
    def is_place(self) -> bool:
        """Whether a task has a place until it has ended."""
        return isinstance(self.limit, AtOnce)


class _Declared(NamedTuple):
    """A limit as it was declared.

    Attributes:
        prefix: what stands before the key in its name on the server.
        limit: the limit.
        by: gives a call's key; None for one key.
    """

    prefix: str
    limit: Limit
    by: _KeyOf | None


class Limited:
    """The limits of a function's tasks in a queue, and the lines in which they stand.

    Args:
        declared: the limits.
        line: what stands before the key in a line's name; empty where there are no lines.
        serial_by: gives a call's key of its line.
    """

    def __init__(
        self, declared: Iterable[_Declared], line: str = "", serial_by: _KeyOf | None = None
    ) -> None:
        self._declared = sorted(declared, key=lambda one: rank(one.limit))
        self._line = line
        self._serial_by = serial_by

    def of(self, call: Call[Any]) -> list[LimitOf]:
        """The limits of a call, in the order in which tasks take them.

        Raises what the user's functions raise.
        """
        found = []
        for prefix, limit, by in self._declared:
            key = "" if by is None else by(call)
            found.append(LimitOf(prefix + _short(key), key, limit))
        return found

    def line_of(self, call: Call[Any]) -> str:
        """The line in which the task of a call stands, empty for none.

        Raises what the user's function raises.
        """
        return "" if self._serial_by is None else self._line + _short(self._serial_by(call))

    def beside(self, other: Limited | None) -> Limited:
        """These limits, those of the queue, and the limits and lines of a function."""
        if other is None:
            return self
        return Limited([*other._declared, *self._declared], other._line, other._serial_by)


def limits_of_function(
    settings: TaskSettings, signature: Signature, *, adopts: bool
) -> Limited | None:
    """The limits and lines of a task function; None without any.

    Args:
        settings: the function's.
        signature: the function's.
        adopts: whether the tasks are entries that others write.

    Raises:
        DefinitionError: no argument has the name of a `by`, or what others write has no such thing.
    """
    by = settings.serial_by
    if not settings.limits and by is None:
        return None
    if adopts:
        refuse_whose("limits", settings.limits)
        if by is not None:
            refuse_whose("serial_by", [AtOnce(1, by=by)])
    scope = wire_name(settings.name).decode()
    declared = _declared(scope, settings.limits, lambda one: key_of(one, signature))
    return Limited(declared, f"{scope} s ", None if by is None else key_of(by, signature))


def limits_of_queue(limits: Sequence[Limit]) -> Limited | None:
    """The limits of all tasks of a queue; None without any."""
    return Limited(_declared("", limits, key_of_any)) if limits else None


def _declared(
    scope: str, limits: Sequence[Limit], key_by: Callable[[By], _KeyOf]
) -> list[_Declared]:
    found = []
    for number, limit in enumerate(limits):
        kind = "a" if isinstance(limit, AtOnce) else "r"
        by = None if limit.by is None else key_by(limit.by)
        found.append(_Declared(f"{scope} {number}{kind} ", limit, by))
    return found


def one_line(name: str) -> str:
    """The name of a line as another program may have written it, without line breaks."""
    return _short(name) if "\n" in name else name


def _short(key: str) -> str:
    """A key as it stands on the server: in one line, and of bounded length."""
    if len(key) <= _LONGEST and key.isprintable() and not key.startswith("#"):
        return key
    return "#" + blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
