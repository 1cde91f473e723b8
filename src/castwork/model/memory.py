"""Memory: how much of it this process has."""

from __future__ import annotations

import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


def memory_mb() -> int:
    """Megabytes of memory that this process has; elsewhere than on Linux that it ever had."""
    import resource  # noqa: PLC0415 - Windows has none

    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize() >> 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> (20 if sys.platform == "darwin" else 10)
