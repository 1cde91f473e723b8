"""Output of commands: JSON for programs, tables for people."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from castwork.model.codec import encode_value
from castwork.model.safe_text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_C1 = re.compile(r"[\x7f-\x9f]")


def print_json(value: object, *, indent: int = 2) -> None:
    """Print a value as JSON; `indent=0` for one line."""
    raw = encode_value(value)
    text = (msgspec.json.format(raw, indent=indent) if indent else raw).decode()
    # JSON escapes control characters but these, which terminals obey, too.
    typer.echo(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; for an empty table, one line that says so."""
    made = make_table(title, columns, rows)
    if made.row_count:
        console().print(made)
    else:
        typer.echo(f"no {title}")


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Make a table; numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    lines = [[_text(cell) for cell in row] for row in rows]
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for number, name in enumerate(columns):
        numeric = all(line[number].replace(".", "").isdigit() for line in lines)
        table.add_column(name, justify="right" if numeric and lines else "left")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def console() -> Console:
    """A console on stdout, which writes long lines whole into a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=240)


def ago(since: float) -> str:
    """The time since a moment (seconds since 1970), for people."""
    return _duration(time.time() - since) if since else ""


def until(moment: float) -> str:
    """The time until a moment (seconds since 1970), for people."""
    return _duration(moment - time.time())


def _duration(exact: float) -> str:
    seconds = max(0, int(exact))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _text(cell: Any) -> str:
    return "" if cell is None else printable(str(cell), sys.maxsize)
