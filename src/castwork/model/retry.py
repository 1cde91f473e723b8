"""How long to wait before the next attempt: exponential backoff with full jitter."""

from __future__ import annotations

import random

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Exponential backoff with full jitter.

    The wait before attempt *n + 1* is drawn evenly from zero to
    ``min(longest, base * factor ** (n - 1))`` seconds, so that tasks which failed together
    do not come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        base: seconds, the ceiling of the first wait.
        factor: growth per failed attempt.
        longest: seconds, the ceiling of every wait.
    """

    base: float = 1.0
    factor: float = 2.0
    longest: float = 300.0

    def ceiling(self, attempts: int) -> float:
        """The longest wait, in seconds, after `attempts` failed attempts."""
        exponent = min(attempts - 1, 64)  # beyond that a float power overflows
        return float(min(self.longest, self.base * self.factor**exponent))

    def wait(self, attempts: int, *, draw: float | None = None) -> float:
        """Draw the wait in seconds after `attempts` failed attempts."""
        return self.ceiling(attempts) * (random.random() if draw is None else draw)
