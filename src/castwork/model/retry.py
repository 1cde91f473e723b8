"""How long to wait before the next attempt: exponential backoff with full jitter."""

from __future__ import annotations

import math

import msgspec

from castwork.model.dice import dice
from castwork.model.errors import DefinitionError
from castwork.model.option_values import duration, settle


class Backoff(msgspec.Struct, frozen=True):
    """Exponential backoff with full jitter.

    The wait before attempt *n + 1* is drawn evenly from zero to
    ``min(longest, base * factor ** (n - 1))`` seconds, so that tasks which failed together
    do not come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        base: seconds, the ceiling of the first wait.
        factor: growth per failed attempt, 1 or more.
        longest: seconds, the ceiling of every wait.

    Raises:
        DefinitionError: a value is no duration, or the factor is no such number.
    """

    base: float = 1.0
    factor: float = 2.0
    longest: float = 300.0

    def __post_init__(self) -> None:
        settle(self, {"base": duration(), "longest": duration()}, of="Backoff: ")
        factor: object = self.factor  # as it was given, of any kind
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            raise DefinitionError(f"Backoff: factor is {factor!r:.60}: give a number")
        if not 1 <= factor < math.inf:
            raise DefinitionError(f"Backoff: factor is {factor!r:.60}: it must be 1 or more")

    def ceiling(self, attempts: int) -> float:
        """The longest wait, in seconds, after `attempts` failed attempts."""
        try:
            grown = self.base * float(self.factor) ** (attempts - 1)
        except OverflowError:
            grown = math.inf if self.base else 0.0
        return float(min(self.longest, grown))

    def wait(self, attempts: int, *, draw: float | None = None) -> float:
        """Draw the wait in seconds after `attempts` failed attempts."""
        return self.ceiling(attempts) * (dice.random() if draw is None else draw)
