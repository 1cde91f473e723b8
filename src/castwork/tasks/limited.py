"""Limited: the limits of one task function, and which of their keys a call has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from castwork.model.errors import DefinitionError
from castwork.model.limits import AtOnce, Limit, in_order
from castwork.model.signature import Signature
from castwork.tasks.by import key_of
from castwork.tasks.call import Call

#: Letters of a key that stands on the server as it is.
_LONGEST = 200


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
    """The limits of a function's tasks.

    Args:
        limits: as declared.
        scope: whose limits they are: the function's name as it stands in entries.
        signature: the function's.
        adopts: whether the tasks are entries that others write.

    Raises:
        DefinitionError: no argument has the name of a `by`, or what others write has no such thing.
    """

    def __init__(
        self, limits: Sequence[Limit], scope: str, signature: Signature, *, adopts: bool
    ) -> None:
        self._limits: list[tuple[str, Limit, Callable[[Call[Any]], str] | None]] = []
        for number, limit in in_order(limits):
            by = limit.by
            if adopts and by in ("tenant", "owner"):
                raise DefinitionError(
                    f"limits: entries that others write have no {by}: name an argument, or give a"
                    " function of the call"
                )
            kind = "a" if isinstance(limit, AtOnce) else "r"
            name = f"{scope} {number}{kind} "
            self._limits.append((name, limit, None if by is None else key_of(by, signature)))

    def of(self, call: Call[Any]) -> list[LimitOf]:
        """The limits of a call, in the order in which tasks take them.

        Raises what the user's functions raise.
        """
        found = []
        for name, limit, by in self._limits:
            key = "" if by is None else by(call)
            found.append(LimitOf(name + _short(key), key, limit))
        return found


def _short(key: str) -> str:
    """A key as it stands on the server: in one line, and of bounded length."""
    if len(key) <= _LONGEST and key.isprintable() and not key.startswith("#"):
        return key
    return "#" + blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
