"""Lines of several processes on one terminal, each under its name."""

from __future__ import annotations

import sys

_COLOURS = (36, 33, 32, 35, 34, 31)


class Terminal:
    """Prints `name | line`, names aligned, and in colour on a terminal.

    Args:
        width: characters of the longest name.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._colours: dict[str, int] = {}
        self._coloured = sys.stdout.isatty()

    def say(self, name: str, line: str) -> None:
        """Print a line under a name."""
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self.write(f"{prefix} {line}")

    def write(self, line: str) -> None:
        """Print a line; the line is dropped when nobody reads the output any more."""
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except OSError:
            pass  # a closed pipe must not stop the supervision
