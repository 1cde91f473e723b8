"""What a scenario is: a name, the columns it fills, and a function that measures one trial."""

from collections.abc import Callable
from dataclasses import dataclass

from .catalog import Peer
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
    note: str = ""

    def takes(self, peer: Peer) -> bool:
        """Says whether the peer takes part; if not, no row says that it did not."""
        here = self.only is None or peer.name in self.only
        return here and (peer.only is None or self.name in peer.only)
