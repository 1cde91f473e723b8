"""The run at a glance: castwork beside what it was, the floors and the fastest other package."""

from typing import Any

from .compact import summarize

ME = "castwork"
BESIDE = ("castwork-before", "floor-python", "floor-c", "floor-c-fenced", "floor-hiredis", "ardiq")
# What, scenario, figure, digits.
FIGURES = (
    ("drained tasks/s", "drain", "rate", 0),
    ("server CPU per task, whole cycle, µs", "server_cost", "server", 2),
    ("worker CPU per task, µs", "server_cost", "worker", 2),
    ("server bytes per waiting task", "server_cost", "bytes", 0),
    ("server CPU per awaited 30 ms task, µs", "long_task", "server", 1),
    ("enqueues/s, one by one", "enqueue", "one", 0),
    ("enqueue to result, idle, p50 ms", "latency", "idle_p50", 2),
    ("worker CPU per chunk, µs", "chunks", "worker", 1),
    ("gateway CPU per chunk, µs", "chunks", "gateway", 1),
)


def lines(data: dict[str, Any]) -> list[str]:
    """Returns a table of figures by peer, each with what castwork's is of it; empty without
    castwork.
    """
    tables = {scenario: summarize(data, scenario)[0] for _, scenario, _, _ in FIGURES}
    found = {
        (scenario, figure): {
            peer: row[figure].median for peer, row in tables[scenario].items() if figure in row
        }
        for _, scenario, figure, _ in FIGURES
    }
    beside = [peer for peer in BESIDE if any(peer in row for row in found.values())]
    rows = []
    for what, scenario, figure, digits in FIGURES:
        by_peer = found[scenario, figure]
        if ME not in by_peer:
            continue
        cells = [f"{by_peer[ME]:,.{digits}f}"]
        for peer in beside:
            value = by_peer.get(peer)
            times = f" ({by_peer[ME] / value:.2f})" if value else ""
            cells.append("-" if value is None else f"{value:,.{digits}f}{times}")
        rows.append(f"| {what} | " + " | ".join(cells) + " |")
    if not rows or not beside:
        return []
    head = "| | castwork | " + " | ".join(beside) + " |"
    note = "In brackets: castwork's figure divided by this one. `-`: not measured in this run."
    rule = "|---" * (len(beside) + 2) + "|"
    return ["## At a glance", "", note, "", head, rule, *rows, ""]
