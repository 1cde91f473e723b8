"""What castwork wants to reach, each as a ratio or a figure of one run, checked against the run's
JSON.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .results import Table, summarize

ME, FLOOR = "castwork", "floor-hiredis"


@dataclass(frozen=True)
class Goal:
    """`measure` computes the figure; it is met when it is at least, or at most, `bound`."""

    text: str
    bound: float
    at_least: bool
    measure: Callable[["Run"], float]


class Run:
    """The medians of one run; whatever is missing raises KeyError."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._tables: dict[str, Table] = {}

    def table(self, scenario: str) -> Table:
        if scenario not in self._tables:
            self._tables[scenario] = summarize(self._data, scenario)[0]
        return self._tables[scenario]

    def get(self, scenario: str, figure: str, peer: str = ME) -> float:
        return self.table(scenario)[peer][figure].median

    def ratio(self, scenario: str, figure: str, peer: str) -> float:
        return self.get(scenario, figure) / self.get(scenario, figure, peer)

    def others(self, scenario: str, figure: str) -> list[float]:
        """Returns the figure of every peer that is neither castwork nor a floor."""
        rows = self.table(scenario).items()
        found = [
            row[figure].median
            for peer, row in rows
            if figure in row and not peer.startswith(("floor-", ME))
        ]
        if not found:
            raise KeyError(figure)
        return found

    def bulk(self, peer: str) -> float:
        return max(self.get("enqueue", key, peer) for key in ("bulk100", "bulk1000"))


GOALS = (
    Goal("drain over ardiq", 4, True, lambda run: run.ratio("drain", "rate", "ardiq")),
    Goal("drain over the hiredis floor", 0.6, True, lambda run: run.ratio("drain", "rate", FLOOR)),
    Goal(
        "enqueue from 200 coroutines over the best peer",
        4,
        True,
        lambda run: run.get("enqueue", "concurrent") / max(run.others("enqueue", "concurrent")),
    ),
    Goal("bulk enqueue over ardiq", 2, True, lambda run: run.bulk(ME) / run.bulk("ardiq")),
    Goal(
        "enqueue one by one over the hiredis floor",
        0.8,
        True,
        lambda run: run.ratio("enqueue", "one", FLOOR),
    ),
    Goal(
        "idle latency p50 over the hiredis floor",
        2,
        False,
        lambda run: run.ratio("latency", "idle_p50", FLOOR),
    ),
    Goal(
        "idle latency p50 over the best peer",
        1,
        False,
        lambda run: run.get("latency", "idle_p50") / min(run.others("latency", "idle_p50")),
    ),
    Goal("50 ms tasks, times ideal", 1.08, False, lambda run: run.get("sleep50", "ideal")),
    Goal(
        "worker CPU per task over ardiq",
        0.25,
        False,
        lambda run: run.ratio("cpu_memory", "cpu", "ardiq"),
    ),
    Goal(
        "peak memory of the worker over ardiq",
        1,
        False,
        lambda run: run.ratio("cpu_memory", "peak", "ardiq"),
    ),
    Goal(
        "server memory per waiting task over a bare XADD",
        1.5,
        False,
        lambda run: run.ratio("cpu_memory", "bytes", FLOOR),
    ),
    Goal(
        "throughput with 1,000,000 waiting over 1,000",
        0.9,
        True,
        lambda run: run.get("backlog", "rate_1m") / run.get("backlog", "rate_1k"),
    ),
    Goal(
        "slowest command's p99 with 1,000,000 waiting over 1,000",
        2,
        False,
        lambda run: run.get("backlog", "fetch_1m") / run.get("backlog", "fetch_1k"),
    ),
    Goal("2 worker processes over 1", 1.8, True, lambda run: run.get("processes", "speedup")),
    Goal("worker CPU per chunk, µs", 25, False, lambda run: run.get("chunks", "worker")),
    Goal("server commands per chunk", 2, False, lambda run: run.get("chunks", "calls")),
    Goal("import, ms", 60, False, lambda run: run.get("startup", "import")),
)


def lines(data: dict[str, Any]) -> list[str]:
    """Returns the goals that this run can answer, as a table; empty without castwork."""
    run, rows = Run(data), []
    for goal in GOALS:
        try:
            value = goal.measure(run)
        except (KeyError, ZeroDivisionError):
            continue
        met = value >= goal.bound if goal.at_least else value <= goal.bound
        bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}"
        rows.append(f"| {goal.text} | {bound} | {value:.2f} | {'yes' if met else 'no'} |")
    if not rows:
        return []
    return ["## Goals", "", "| what | goal | measured | met |", "|---|---|---|---|", *rows, ""]
