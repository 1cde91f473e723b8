"""How long to wait before a child that died is started again."""

from __future__ import annotations

from collections import deque

#: Seconds over which deaths are counted, and how many of them make a crash loop.
WINDOW = 30.0
TOLERATED = 5

#: Seconds between the starts of a child in a crash loop.
SLOW = 5.0

_FIRST = 0.1


class Restarts:
    """The deaths of one child: waits double, up to the wait in a crash loop."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def died(self, now: float) -> float:
        """Note a death at monotonic time `now`, and return the seconds to wait."""
        self._deaths.append(now)
        while self._deaths[0] < now - WINDOW:
            self._deaths.popleft()
        if self.is_crash_loop:
            return SLOW
        return float(min(SLOW, _FIRST * 2 ** (len(self._deaths) - 1)))

    @property
    def deaths(self) -> int:
        """Deaths within the window."""
        return len(self._deaths)

    @property
    def is_crash_loop(self) -> bool:
        """Whether the child dies again and again."""
        return len(self._deaths) > TOLERATED
