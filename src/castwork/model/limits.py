"""Limits of task functions and queues: how often tasks may begin, and how many may run at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import msgspec

from castwork.model.errors import DefinitionError
from castwork.model.option_values import Seconds, duration, settle

#: How much a limit allows: a number, or a function of the key.
Amount = int | Callable[[str], int]

#: Whose limit it is: `tenant`, `owner`, the name of an argument, or a function of the call.
LimitBy = str | Callable[[Any], str]

_MOST = 1_000_000
_WHOSE = ("tenant", "owner")


class _Most(msgspec.Struct, frozen=True):
    """The one thing that all limits say."""

    most: Amount


class Rate(_Most, frozen=True, kw_only=True):
    """Attempts begin at most so often, over all workers, by the server's clock.

    A key that has been idle may begin `burst` at once; from then on one may begin each
    `per / most` seconds (GCRA). So within any `per` seconds at most `burst + most` begin, and
    with `burst=1`, evenly spaced, at most `most`.

    Args:
        most: attempts per `per`, 1 to 1,000,000, or a function of the key that returns this; of
            such a function 0 closes the key.
        per: seconds, or a `timedelta`.
        by: a limit each by `tenant`, `owner`, an argument's name, or a function of the `Call`;
            None for one limit.
        burst: attempts that may begin at once, `most` if None.

    Raises:
        DefinitionError: a value cannot be.
    """

    per: Seconds
    by: LimitBy | None = None
    burst: int | None = None

    def __post_init__(self) -> None:
        settle(self, {"per": duration(above_zero=True)}, of="Rate: ")
        _check(self)
        if self.burst is not None and not _is_amount(self.burst):
            raise DefinitionError(f"Rate: burst is {self.burst!r:.60}: give 1 to {_MOST:,}")

    def spec(self, key: str) -> str:
        """What the server is told: microseconds between two, burst, 1 where that may change."""
        most = _amount(self, key)
        if not most:
            return "r 1000000000000 0 1"
        assert isinstance(self.per, float | int)
        interval = ceil(self.per * 1_000_000 / most)
        burst = most if self.burst is None else self.burst
        return f"r {interval} {burst} {int(callable(self.most))}"


class AtOnce(_Most, frozen=True, kw_only=True):
    """So many attempts run at once at most, over all workers.

    An attempt has its place until its outcome is stored, or its lease ends with its worker.

    Args:
        most: attempts, 1 to 1,000,000, or a function of the key that returns this; of such a
            function 0 closes the key.
        by: as of `Rate`.

    Raises:
        DefinitionError: a value cannot be.
    """

    by: LimitBy | None = None

    def __post_init__(self) -> None:
        _check(self)

    def spec(self, key: str) -> str:
        """What the server is told: how many, and 1 where that may change."""
        return f"a {_amount(self, key)} 0 {int(callable(self.most))}"


Limit = Rate | AtOnce


def _is_amount(value: object, *, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST


def _check(limit: Limit) -> None:
    name = type(limit).__name__
    if not (callable(limit.most) or _is_amount(limit.most)):
        raise DefinitionError(
            f"{name}: {limit.most!r:.60} cannot be a limit: give 1 to {_MOST:,}, or a function of"
            " the key"
        )
    if limit.by is not None and not callable(limit.by) and not isinstance(limit.by, str):
        raise DefinitionError(
            f"{name}: by is {limit.by!r:.60}: give 'tenant', 'owner', the name of an argument, or a"
            " function of the call"
        )


def _amount(limit: Limit, key: str) -> int:
    """How much a limit allows a key now; raises DefinitionError, or what the function raises."""
    if not callable(limit.most):
        return limit.most
    most = limit.most(key)
    if not _is_amount(most, least=0):
        raise DefinitionError(
            f"{type(limit).__name__}: the function of the key {key!r:.60} returned {most!r:.60}:"
            f" return 0 to {_MOST:,}"
        )
    return most


def limits(name: str, given: Any) -> tuple[Limit, ...]:
    """The check of limits: a list of them."""
    if isinstance(given, Sequence) and all(isinstance(one, Rate | AtOnce) for one in given):
        return tuple(given)
    raise DefinitionError(
        f"{name} is {given!r:.60}: give a list, as [Rate(60, per=60), AtOnce(4, by='tenant')]"
    )


def queue_limits(name: str, given: Any) -> tuple[Limit, ...]:
    """The check of the limits of a queue, whose tasks are of several functions."""
    checked = limits(name, given)
    for one in checked:
        if isinstance(one.by, str) and one.by not in _WHOSE:
            raise DefinitionError(
                f"{name}: by is {one.by!r:.60}: a queue's tasks are of several functions: give"
                " 'tenant', 'owner' or a function of the call, or limit the function"
            )
    return checked


def refuse_whose(name: str, given: Sequence[Limit]) -> None:
    """Refuse limits that entries which others write cannot have.

    Raises:
        DefinitionError: one is by tenant or owner.
    """
    for one in given:
        if one.by in _WHOSE:
            raise DefinitionError(
                f"{name}: entries that others write have no {one.by}: name an argument, or give a"
                " function of the call"
            )


def rank(limit: Limit) -> tuple[int, bool]:
    """Where a limit stands among those that a task takes one after the other.

    A task that waits for a limit keeps its place at those before it. So limits of one tenant or
    owner come first, then others with a key, then those without; else the tasks of one tenant that
    wait for each other would take the places of all tenants. Among equals, places come first.
    """
    width = 2 if limit.by is None else 0 if limit.by in _WHOSE else 1
    return width, isinstance(limit, Rate)
