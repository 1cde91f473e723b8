"""What castwork wants to reach: each a figure of one peer divided by a figure of another, or of the
same, in one run; checked against that run alone.
"""

from dataclasses import dataclass
from typing import Any

from .compact import Table, summarize

ME, BEFORE, ARDIQ = "castwork", "castwork-before", "ardiq"
BEST = "the best package here"  # of all that are neither castwork nor a floor
FLOOR = "floor-hiredis"
# What castwork is divided by when it is divided by itself, as a reader calls it.
AGAINST = {"rate_1k": "1,000 waiting", "fetch_1k": "1,000 waiting", "p1": "1 process"}


@dataclass(frozen=True)
class Goal:
    """`figure` of castwork divided by `than` (`figure` unless said otherwise) of `over`; by nothing
    when `over` is empty. Met when it is at most, or with `at_least` at least, `bound`.

    `server` limits it to servers whose version begins so.
    """

    text: str
    scenario: str
    figure: str
    bound: float
    over: str = ""
    than: str = ""
    at_least: bool = False
    server: str = ""


def _worse(scenario: str, figure: str, text: str) -> Goal:
    """Nothing may get worse than it was, but by what one run cannot tell from noise."""
    return Goal(text, scenario, figure, 1.05, BEFORE)


GOALS = (
    # Against what castwork was before its hot path was built anew.
    Goal("server CPU per task", "server_cost", "server", 0.65, BEFORE, server="redis 7"),
    Goal("server CPU per task", "server_cost", "server", 0.55, BEFORE, server="valkey 9.1"),
    Goal("server CPU per 30 ms task that one waits for", "long_task", "server", 0.5, BEFORE),
    Goal("server memory per waiting task", "server_cost", "bytes", 0.75, BEFORE),
    Goal("worker CPU per task", "server_cost", "worker", 0.9, BEFORE),
    _worse("latency", "idle_p50", "enqueue to result, idle, p50"),
    _worse("chunks", "worker", "worker CPU per chunk"),
    _worse("chunks", "gateway", "gateway CPU per chunk"),
    _worse("chunks", "server", "server CPU per chunk"),
    # Against other packages.
    Goal("drain", "drain", "rate", 8, ARDIQ, at_least=True),
    Goal("bulk enqueue, of 1,000", "enqueue", "bulk1000", 2, ARDIQ, at_least=True),
    Goal("enqueue from 200 coroutines", "enqueue", "concurrent", 4, BEST, at_least=True),
    Goal("enqueue to result, idle, p50", "latency", "idle_p50", 1, BEST),
    Goal("worker CPU per task", "cpu_memory", "cpu", 0.25, ARDIQ),
    Goal("peak memory of the worker", "cpu_memory", "peak", 1, ARDIQ),
    # Against the limit.
    Goal("enqueue one by one", "enqueue", "one", 0.8, FLOOR, at_least=True),
    Goal("enqueue to result, idle, p50", "latency", "idle_p50", 2, FLOOR),
    Goal("50 ms tasks, times the ideal", "sleep50", "ideal", 1.08),
    # As it grows.
    Goal("drain with 1,000,000 waiting", "backlog", "rate_1m", 0.9, ME, "rate_1k", at_least=True),
    Goal("slowest command with 1,000,000 waiting", "backlog", "fetch_1m", 2, ME, "fetch_1k"),
    Goal("2 worker processes", "processes", "p2", 1.8, ME, "p1", at_least=True),
    Goal("import, ms", "startup", "import", 60),
)


def _denominator(goal: Goal, table: Table) -> float:
    figure = goal.than or goal.figure
    if goal.over != BEST:
        return table[goal.over][figure].median if goal.over else 1.0
    found = [
        row[figure].median
        for peer, row in table.items()
        if figure in row and not peer.startswith(("floor-", ME))
    ]
    if not found:
        raise KeyError(figure)
    return max(found) if goal.at_least else min(found)


def measured(goal: Goal, data: dict[str, Any]) -> float:
    """Returns the ratio.

    Raises:
        KeyError: the run lacks a figure that it needs.
    """
    table, _ = summarize(data, goal.scenario)
    return table[ME][goal.figure].median / _denominator(goal, table)


def lines(data: dict[str, Any]) -> list[str]:
    """Returns the goals that this run can answer, as a table; empty without castwork."""
    rows = []
    for goal in GOALS:
        if not data["settings"]["server"].startswith(goal.server):
            continue
        try:
            value = measured(goal, data)
        except (KeyError, ZeroDivisionError):
            continue
        met = value >= goal.bound if goal.at_least else value <= goal.bound
        bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}"
        over = AGAINST.get(goal.than) or goal.over or "-"
        rows.append(f"| {goal.text} | {over} | {bound} | {value:.2f} | {'yes' if met else 'no'} |")
    if not rows:
        return []
    head = ["| castwork's | over that of | goal | measured | met |", "|---|---|---|---|---|"]
    return ["## Goals", "", *head, *rows, ""]
