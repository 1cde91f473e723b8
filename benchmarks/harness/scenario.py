"""What a scenario is: a name, the columns it fills, and a function that measures one trial."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .trial import Trial

Figures = dict[str, float]


@dataclass(frozen=True)
class Column:
    """One figure: `better` says which direction wins; `main` figures get ratios and plots."""

    key: str
    label: str
    better: str = "more"
    digits: int = 0
    main: bool = False


@dataclass(frozen=True)
class Scenario:
    """`run` returns the figures by column key; `only` limits it to peers that can do it at all."""

    name: str
    title: str
    columns: tuple[Column, ...]
    run: Callable[[Trial], Figures]
    only: frozenset[str] | None = None
    seconds: float = 20.0
    note: str = ""

    def settings(self) -> dict[str, Any]:
        return {"title": self.title, "note": self.note}
