"""What is kept of a run: one line per scenario, peer and figure, with its spread over the
repetitions, below a header that says on what it was measured.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

COLUMNS = ("scenario", "peer", "figure", "min", "median", "max", "n")
ABOUT = ("python", "revision", "settings", "packages", "reason")  # of a peer, in the header


@dataclass(frozen=True)
class Cell:
    """One figure of one peer over `count` repetitions."""

    median: float
    low: float
    high: float
    count: int


Table = dict[str, dict[str, Cell]]  # peer -> figure -> cell


def _rounded(value: float) -> float | int:
    """Four digits: the machine's noise begins with the second."""
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


def compact(raw: dict[str, Any]) -> dict[str, Any]:
    """Returns the medians and spreads of a run's measurements."""
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    remarks: dict[tuple[str, str], str] = {}
    for trial in raw["trials"]:
        where = trial["scenario"], trial["peer"]
        for figure, value in trial.get("figures", {}).items():
            if not figure.startswith("command "):  # calls by command are for a look, not for a page
                values[*where, figure].append(value)
        if "reason" in trial:
            remarks[where] = trial["reason"]
    peers = {
        name: {key: about[key] for key in ABOUT if key in about}
        for name, about in raw["peers"].items()
    }
    return {
        "settings": raw["settings"],
        "machine": raw["machine"],
        "peers": peers,
        "remarks": [[*where, text] for where, text in remarks.items()],
        "rows": [
            [*where, *map(_rounded, (min(found), median(found), max(found))), len(found)]
            for where, found in values.items()
        ],
    }


def write(path: Path, data: dict[str, Any]) -> None:
    """Writes JSON with one line per peer and per row, so that a comparison of two runs reads."""

    def many(rows: list[str], left: str, right: str) -> str:
        return f"{left}\n" + ",\n".join(rows) + f"\n{right}" if rows else left + right

    peers = [f"{json.dumps(name)}: {json.dumps(about)}" for name, about in data["peers"].items()]
    parts = {
        "settings": json.dumps(data["settings"]),
        "machine": json.dumps(data["machine"]),
        "peers": many(peers, "{", "}"),
        "remarks": many([json.dumps(row) for row in data["remarks"]], "[", "]"),
        "columns": json.dumps(COLUMNS),
        "rows": many([json.dumps(row, separators=(",", ":")) for row in data["rows"]], "[", "]"),
    }
    body = ",\n".join(f"{json.dumps(name)}: {text}" for name, text in parts.items())
    path.write_text(f"{{\n{body}\n}}\n")


def read(path: Path) -> dict[str, Any]:
    """Reads what `write` wrote, or the raw record of a run."""
    data: dict[str, Any] = json.loads(path.read_text())
    return compact(data) if "trials" in data else data


def summarize(data: dict[str, Any], scenario: str) -> tuple[Table, dict[str, str]]:
    """Returns the figures of a scenario, and why peers have none or what to know of them."""
    table: Table = defaultdict(dict)
    for name, peer, figure, low, middle, high, count in data["rows"]:
        if name == scenario:
            table[peer][figure] = Cell(middle, low, high, count)
    reasons = {peer: text for name, peer, text in data["remarks"] if name == scenario}
    return dict(table), reasons
