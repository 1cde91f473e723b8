"""Tables in markdown, made from the results of a run."""

from pathlib import Path
from typing import Any

from . import goals, summary
from .compact import Cell, Table, summarize
from .scenario import Column, Scenario

#: Between these marks a page of the documentation has its figures.
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def one_line(scenario: Scenario, outcome: dict[str, Any]) -> str:
    if "figures" not in outcome:
        return str(outcome["reason"])
    figures = outcome["figures"]
    shown = [c for c in scenario.columns if c.key in figures]
    line = ", ".join(f"{c.label} {figures[c.key]:,.{c.digits}f}" for c in shown)
    return f"{line} ({outcome['reason']})" if "reason" in outcome else line


def _cell(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return "-"
    text = f"{cell.median:,.{column.digits}f}"
    if cell.count > 1 and column.main:
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
    lines = [f"### {scenario.title}", "", *([scenario.note, ""] if scenario.note else [])]
    if table:
        heads = [c.label for c in columns]
        lines += ["| peer | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for peer in _ordered(table, [c for c in columns if c.main]):
        cells = []
        for column in columns:
            text = _cell(table[peer].get(column.key), column)
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
    data: dict[str, Any], scenarios: dict[str, Scenario], against: str, plots: dict[str, str]
) -> list[str]:
    """Returns settings, a summary, goals, one table per scenario and versions, as lines.

    `plots` has a link to the plot of each scenario, for a page that shows them.
    """
    lines = [_conditions(data), "", *summary.lines(data), *goals.lines(data)]
    lines += [
        "## All tables",
        "",
        f"Best first. `· 2.00×` behind a figure: {against} is 2 times better there; below 1 it is "
        "worse.",
        "",
    ]
    for scenario in scenarios.values():
        lines += table_of(data, scenario, against)
        if scenario.name in plots:
            lines += [f"![{scenario.title}]({plots[scenario.name]})", ""]
    return [*lines, *_versions(data), ""]


def _conditions(data: dict[str, Any]) -> str:
    settings, machine = data["settings"], data["machine"]
    return (
        f"Measured on {settings['started'][:10]}: server {settings['server']}; "
        f"{machine['cores']} cores, {machine['cpu']}, {machine['system']}; revision "
        f"`{settings['revision']}`; medians of {settings['repeat']} interleaved repetitions "
        f"(lowest to highest), scale {settings['scale']:g}, event loop {settings['loop']}."
    )


def _versions(data: dict[str, Any]) -> list[str]:
    lines = ["## Versions and settings", ""]
    for peer, about in data["peers"].items():
        if "reason" in about:
            lines.append(f"- **{peer}**: not run: {about['reason']}")
            continue
        of = f", revision `{about['revision']}`" if "revision" in about else ""
        head = f"- **{peer}** (Python {about['python']}{of}): {about['settings']}"
        lines.append(f"{head}. {' '.join(about['packages'])}")
    return lines
