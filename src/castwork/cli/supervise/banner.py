"""What `castwork up` says once everything runs: what runs where, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Banner:
    """The start-up message.

    Attributes:
        module: what was started, as the user named it.
        rows: per process its name and where it is.
        times: seconds after which each part was ready.
        hints: what to try next.
        url: the server's URL, for other terminals; a URL with a login is not shown.
    """

    module: str
    url: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    hints: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The message, line by line."""
        width = max(len(name) for name, _ in self.rows) + 2
        total = max(self.times.values())
        times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.times.items())
        exports = {"CASTWORK_APP": self.module}
        if "@" not in self.url:  # a login does not belong into a log
            exports["CASTWORK_URL"] = self.url
        export = " ".join(f"{name}={shlex.quote(value)}" for name, value in exports.items())
        hints = [line for hint in self.hints for line in hint.rstrip().splitlines()]
        return [
            "",
            f"castwork runs {self.module}: ready after {total:.1f} s ({times})",
            "",
            *(f"  {name:<{width}}{text}" for name, text in self.rows),
            "",
            "Try next",
            *(f"  {line}" for line in hints),
            "",
            "From another terminal",
            f"  export {export}",
            "  castwork top            # or: status, doctor, enqueue, dead list",
            "",
            "Ctrl-C lets running tasks finish and ends everything.",
            "",
        ]
