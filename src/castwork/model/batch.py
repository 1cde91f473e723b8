"""Batch: how the items of a batch function are gathered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from castwork.model.errors import DefinitionError
from castwork.model.option_values import above_zero

#: Items of one call, at most: a claim brings no more.
_MOST = 1000


class _Size(msgspec.Struct, frozen=True):
    """The one thing that most batches say."""

    max_size: int = 64


class Batch(_Size, frozen=True, kw_only=True):
    """How many tasks one call of a batch function takes.

    A call takes what is there when a slot is free, and waits for nothing more.

    Args:
        max_size: tasks of one call at most, 1 to 1,000.
        max_cost: what the items of one call may cost together, by `cost`; an item that costs more
            has a call of its own.
        cost: the cost of an item, as its number of tokens.
        padded: whether each item costs as much as the longest of its call, as where a model pads
            them to one length; else the costs are added.
        same: items of one call must have this in common, as the name of a model.

    Raises:
        DefinitionError: a value cannot be.
    """

    max_cost: float | None = None
    cost: Callable[[Any], float] | None = None
    padded: bool = True
    same: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_size, int) or not 1 <= self.max_size <= _MOST:
            raise DefinitionError(f"Batch: max_size is {self.max_size!r}: give 1 to {_MOST}")
        if (self.max_cost is None) is not (self.cost is None):
            raise DefinitionError(
                "Batch: max_cost bounds what cost= counts: give both, or none of them"
            )
        if self.max_cost is not None:
            above_zero("Batch: max_cost", self.max_cost, "what the items of a call may cost")
        for name in ("cost", "same"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise DefinitionError(f"Batch: {name} is {given!r:.60}: give a function of an item")

    def fits(self, count: int, total: float, longest: float) -> bool:
        """Whether so many items of these costs may share a call.

        Args:
            count: the items.
            total: the sum of their costs.
            longest: the largest of their costs.
        """
        if count > self.max_size:
            return False
        if self.max_cost is None or count == 1:
            return True
        return (count * longest if self.padded else total) <= self.max_cost
