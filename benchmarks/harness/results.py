"""The record of a run: what was measured on what, as JSON, written after every measurement."""

import json
import os
import platform
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


def machine() -> dict[str, Any]:
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"system": platform.platform(), "cpu": model, "cores": os.cpu_count()}


def revision() -> str:
    """Returns the commit that was measured, marked when files differ from it."""
    folder = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


class Results:
    """Collects measurements; `trials` holds one row per peer, scenario and repetition.

    With `resume` it goes on with what the file holds already.

    Raises:
        ValueError: the file was measured with other settings, of another revision, or elsewhere.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, resume: bool = False) -> None:
        self._path = path
        now = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self.data: dict[str, Any] = {
            "settings": settings | {"revision": revision(), "started": now},
            "machine": machine(),
            "peers": {},
            "trials": [],
        }
        if resume and path.exists():
            self._go_on(json.loads(path.read_text()))

    def _go_on(self, before: dict[str, Any]) -> None:
        self.data["settings"]["started"] = before["settings"]["started"]
        for part in ("settings", "machine"):
            if before[part] != self.data[part]:
                raise ValueError(f"{self._path}: other {part}: {before[part]}")
        self.data = before

    def has(self, scenario: str, peer: str, repetition: int) -> bool:
        return any(
            (row["scenario"], row["peer"], row["repetition"]) == (scenario, peer, repetition)
            for row in self.data["trials"]
        )

    def add(self, scenario: str, peer: str, repetition: int, outcome: dict[str, Any]) -> None:
        row = {"scenario": scenario, "peer": peer, "repetition": repetition}
        self.data["trials"].append(row | outcome)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.data, indent=1) + "\n")


@dataclass(frozen=True)
class Cell:
    """One figure of one peer over the repetitions."""

    median: float
    low: float
    high: float


Table = dict[str, dict[str, Cell]]  # peer -> figure -> cell


def summarize(data: dict[str, Any], scenario: str) -> tuple[Table, dict[str, str]]:
    """Returns the medians of a scenario, and why peers have no figures or what to know of them."""
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    reasons: dict[str, str] = {}
    for row in data["trials"]:
        if row["scenario"] != scenario:
            continue
        for key, value in row.get("figures", {}).items():
            figures[row["peer"]][key].append(value)
        if "reason" in row:
            reasons[row["peer"]] = row["reason"]
    table = {
        peer: {key: Cell(median(v), min(v), max(v)) for key, v in columns.items()}
        for peer, columns in figures.items()
    }
    return table, reasons
