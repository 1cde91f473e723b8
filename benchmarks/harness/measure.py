"""What a tree of processes has used, and what its task bodies have counted."""

import mmap
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

LAYOUT = struct.Struct("<QQddd")  # as child/bodies.py writes it
MB = 1_000_000


def own_cpu(process: psutil.Process) -> float:
    """Returns the CPU seconds of one process with all its threads, ended ones included.

    On Linux from the process's CPU clock, in nanoseconds; psutil counts in ticks of 10 ms.
    """
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)
    times = process.cpu_times()
    return times.user + times.system


def tree(pids: list[int]) -> list[psutil.Process]:
    """Returns the processes and all their descendants that are alive now."""
    found: list[psutil.Process] = []
    for pid in pids:
        try:
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Returns the CPU seconds of the trees so far, children that ended and were waited for
    included.
    """
    total = 0.0
    for process in tree(pids):
        try:
            times = process.cpu_times()
            total += own_cpu(process) + times.children_user + times.children_system
        except (psutil.Error, OSError):
            continue
    return total


@dataclass(frozen=True)
class Memory:
    """MB of the trees: `pss` counts shared pages once, `peak` is the sum of each process's highest
    RSS.
    """

    pss: float
    peak: float


def memory(pids: list[int]) -> Memory:
    pss = peak = 0.0
    for process in tree(pids):
        try:
            full = process.memory_full_info()
            pss += getattr(full, "pss", full.rss)
            peak += _highest_rss(process) or full.rss
        except (psutil.Error, OSError):
            continue
    return Memory(pss / MB, peak / MB)


def _highest_rss(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024


@dataclass(frozen=True)
class Count:
    """The sum over the processes that ran tasks, with times on CLOCK_MONOTONIC."""

    processes: int = 0
    begun: int = 0
    executed: int = 0
    first: float = 0.0
    first_end: float = 0.0
    last: float = 0.0

    @property
    def rate(self) -> float:
        """Tasks per second from the first start to the last end."""
        return (self.executed - 1) / (self.last - self.first) if self.executed > 1 else 0.0


class Tallies:
    """Reads the counts that task bodies leave in the run directory."""

    def __init__(self, folder: Path, tasks: int) -> None:
        self._folder = folder
        self._maps: dict[Path, mmap.mmap] = {}
        (folder / "seen").write_bytes(bytes(max(1, tasks)))

    def read(self) -> Count:
        for path in self._folder.glob("*.tally"):
            if path not in self._maps and path.stat().st_size == LAYOUT.size:
                with path.open("r+b") as file:
                    self._maps[path] = mmap.mmap(file.fileno(), 0)
        rows = [LAYOUT.unpack_from(m) for m in self._maps.values()]
        rows = [row for row in rows if row[0]]
        if not rows:
            return Count()
        begun, executed, first, first_end, last = zip(*rows, strict=True)
        ended = [moment for moment in first_end if moment] or [0.0]
        return Count(len(rows), sum(begun), sum(executed), min(first), min(ended), max(last))

    def seen(self, count: int) -> tuple[int, int]:
        """Returns how many of the first `count` tasks never ran, and how many ran twice."""
        runs = (self._folder / "seen").read_bytes()[:count]
        return runs.count(0), len(runs) - runs.count(0) - runs.count(1)
