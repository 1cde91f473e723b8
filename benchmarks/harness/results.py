"""The record of a run in progress: every measurement of every repetition, written after each one.

It lies beside the results as `NAME.raw.json`, is what a stopped run goes on from, and is not kept;
what is kept is made of it by `compact`.
"""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from . import compact


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

    With `resume` it goes on with what the raw file holds already.

    Raises:
        ValueError: the file was measured with other settings, of another revision, or elsewhere.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, resume: bool = False) -> None:
        self._path = path
        self._raw = path.with_suffix(".raw.json")
        now = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self.data: dict[str, Any] = {
            "settings": settings | {"revision": revision(), "started": now},
            "machine": machine(),
            "peers": {},
            "trials": [],
        }
        if resume and self._raw.exists():
            self._go_on(json.loads(self._raw.read_text()))

    def _go_on(self, before: dict[str, Any]) -> None:
        self.data["settings"]["started"] = before["settings"]["started"]
        for part in ("settings", "machine"):
            if before[part] != self.data[part]:
                raise ValueError(f"{self._raw}: other {part}: {before[part]}")
        # What failed is tried again: it may have been the machine's fault.
        before["trials"] = [row for row in before["trials"] if "figures" in row]
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
        self._raw.write_text(json.dumps(self.data))
        compact.write(self._path, self.compact())

    def compact(self) -> dict[str, Any]:
        return compact.compact(self.data)
