"""Lines of several processes on one terminal, each under its name."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import msgspec

_COLOURS = (36, 33, 32, 35, 34, 31)


class Terminal:
    """Prints `name | line`, names aligned, and in colour on a terminal.

    Args:
        width: characters of the longest name.
        json: whether each line is a JSON object: what is one goes on with the `process` added, what
            is not becomes the `message` of one.
    """

    def __init__(self, width: int, *, json: bool = False) -> None:
        self._json = json
        self._width = width
        self._colours: dict[str, int] = {}
        self._coloured = sys.stdout.isatty()

    def say(self, name: str, line: str) -> None:
        """Print a line under a name."""
        if self._json:
            self._print(_json_line(name, line))
            return
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self._print(f"{prefix} {line}")

    def write(self, line: str) -> None:
        """Print a line of the command's own."""
        self._print(_json_line("castwork", line) if self._json else line)

    def _print(self, line: str) -> None:
        """Print a line; the line is dropped when nobody reads the output any more."""
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except OSError:
            pass  # a closed pipe must not stop the supervision


def _json_line(name: str, line: str) -> str:
    """A line of a process as a JSON object."""
    try:
        values = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = line.encode("utf-8", "backslashreplace").decode()
        told = {"time": now, "level": "INFO", "logger": name, "message": said, "process": name}
        return msgspec.json.encode(told).decode()
    return msgspec.json.encode(values | {"process": name}).decode()
