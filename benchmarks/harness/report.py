"""Tables in markdown, made from the JSON of a run."""

import json
from pathlib import Path
from typing import Any

from . import goals
from .results import Cell, Table, summarize
from .scenario import Column, Scenario

#: Between these marks a page of the documentation has its figures.
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def one_line(scenario: Scenario, outcome: dict[str, Any]) -> str:
    if "figures" not in outcome:
        return str(outcome["reason"])
    figures = outcome["figures"]
    shown = [c for c in scenario.columns if c.key in figures]
    line = ", ".join(f"{c.label} {figures[c.key]:,.{c.digits}f}" for c in shown)
    return f"{line} ({outcome['reason']})" if "reason" in outcome else line


def _cell(cell: Cell | None, column: Column, repeat: int) -> str:
    if cell is None:
        return "-"
    text = f"{cell.median:,.{column.digits}f}"
    if repeat > 1 and column.main:
        text += f" ({cell.low:,.{column.digits}f} to {cell.high:,.{column.digits}f})"
    return text


def ratio(table: Table, against: str, peer: str, column: Column) -> float | None:
    """Returns how many times better `against` is than `peer`; below 1 it is worse."""
    mine, other = table.get(against, {}).get(column.key), table.get(peer, {}).get(column.key)
    if mine is None or other is None or not mine.median or not other.median:
        return None
    more = mine.median / other.median
    return more if column.better == "more" else 1 / more


def table_of(data: dict[str, Any], scenario: Scenario, against: str) -> list[str]:
    """Returns the lines of one scenario's table, best first, then who gave no figure and why."""
    table, reasons = summarize(data, scenario.name)
    if not table and not reasons:
        return []
    columns = [c for c in scenario.columns if any(c.key in row for row in table.values())]
    lines = [f"## {scenario.title}", "", *([scenario.note, ""] if scenario.note else [])]
    if table:
        heads = [c.label for c in columns]
        lines += ["| peer | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for peer in _ordered(table, [c for c in columns if c.main]):
        cells = []
        for column in columns:
            text = _cell(table[peer].get(column.key), column, data["settings"]["repeat"])
            times = ratio(table, against, peer, column) if column.main and peer != against else None
            cells.append(f"{text} · {times:.2f}×" if times else text)
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    missing = [f"- {peer}: {reason}" for peer, reason in reasons.items()]
    return [*lines, "", *missing, ""] if missing else [*lines, ""]


def _ordered(table: Table, mains: list[Column]) -> list[str]:
    if not mains:
        return list(table)
    column, sign = mains[0], -1 if mains[0].better == "more" else 1
    return sorted(
        table,
        key=lambda peer: sign * table[peer][column.key].median if column.key in table[peer] else 0,
    )


def markdown(data: dict[str, Any], scenarios: dict[str, Scenario], against: str) -> str:
    """Returns the whole report under a heading of its own."""
    title = f"# Benchmarks of {data['settings']['started']}"
    return "\n".join([title, "", *body(data, scenarios, against, {})]) + "\n"


def fill(page: Path, lines: list[str]) -> None:
    """Puts lines between the two marks of a page whose prose is written by hand.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no {BEGIN} followed by {END}")
    page.write_text("\n".join([before + begin, "", *lines, end]) + after)


def body(
    data: dict[str, Any],
    scenarios: dict[str, Scenario],
    against: str,
    plots: dict[str, list[str]],
) -> list[str]:
    """Returns settings, goals, one table per scenario and versions, as lines.

    `plots` has links to the plots of each scenario, for a page that shows them.
    """
    settings, machine = data["settings"], data["machine"]
    lines = [
        f"Server {settings['server']}; {machine['cores']} cores, {machine['cpu']}, "
        f"{machine['system']}; "
        f"revision {settings['revision']}; medians of {settings['repeat']} interleaved repetitions "
        f"(lowest to highest), scale {settings['scale']}, event loop {settings['loop']}.",
        "",
        f"`· 2.00×` behind a figure: {against} is 2 times better there; below 1 it is worse.",
        "",
    ]
    lines += goals.lines(data)
    for scenario in scenarios.values():
        lines += table_of(data, scenario, against)
        for link in plots.get(scenario.name, ()):
            lines += [f"![{scenario.title}]({link})", ""]
    lines += ["## Versions and settings", ""]
    for peer, about in data["peers"].items():
        if "reason" in about:
            lines.append(f"- **{peer}**: not run: {about['reason']}")
        else:
            head = f"- **{peer}** (Python {about['python']}): {about['settings']}"
            lines.append(f"{head}. {' '.join(about['packages'])}")
    return [*lines, ""]
