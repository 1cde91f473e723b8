"""Limited: the limits of one task function, and which of their keys a call has."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from castwork.model.entry import wire_name
from castwork.model.errors import DefinitionError
from castwork.model.limits import AtOnce, Limit, in_order
from castwork.model.signature import Signature
from castwork.model.task_options import TaskSettings
from castwork.tasks.by import By, key_of
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


class Limited:
    """The limits of a function's tasks, and the line in which each stands.

    Args:
        settings: the function's.
        signature: the function's.
        adopts: whether the tasks are entries that others write.

    Raises:
        DefinitionError: no argument has the name of a `by`, or what others write has no such thing.
    """

    def __init__(self, settings: TaskSettings, signature: Signature, *, adopts: bool) -> None:
        scope = wire_name(settings.name).decode()
        self._limits: list[tuple[str, Limit, _KeyOf | None]] = []
        for number, limit in in_order(settings.limits):
            by = None if limit.by is None else _key_of(limit.by, "limits", signature, adopts)
            kind = "a" if isinstance(limit, AtOnce) else "r"
            self._limits.append((f"{scope} {number}{kind} ", limit, by))
        self._line, self._serial_by = f"{scope} s ", None
        if settings.serial_by is not None:
            self._serial_by = _key_of(settings.serial_by, "serial_by", signature, adopts)

    def of(self, call: Call[Any]) -> list[LimitOf]:
        """The limits of a call, in the order in which tasks take them.

        Raises what the user's functions raise.
        """
        found = []
        for name, limit, by in self._limits:
            key = "" if by is None else by(call)
            found.append(LimitOf(name + _short(key), key, limit))
        return found

    def line_of(self, call: Call[Any]) -> str:
        """The line in which the task of a call stands, empty for none.

        Raises what the user's function raises.
        """
        return "" if self._serial_by is None else self._line + _short(self._serial_by(call))


def _key_of(by: By, option: str, signature: Signature, adopts: bool) -> _KeyOf:
    if adopts and by in ("tenant", "owner"):
        raise DefinitionError(
            f"{option}: entries that others write have no {by}: name an argument, or give a"
            " function of the call"
        )
    return key_of(by, signature)


def _short(key: str) -> str:
    """A key as it stands on the server: in one line, and of bounded length."""
    if len(key) <= _LONGEST and key.isprintable() and not key.startswith("#"):
        return key
    return "#" + blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
