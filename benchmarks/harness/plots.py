"""SVG plots of a run: bars of each scenario's first figure, written by hand so that they are small
and differ only where the figures do.
"""

import math
from html import escape
from pathlib import Path
from typing import Any

from .compact import Cell, summarize
from .scenario import Column, Scenario

WIDTH, LABELS, VALUES, ROW, TOP = 720, 130, 90, 20, 44
SPAN = WIDTH - LABELS - VALUES
FEWEST = 5  # bars: the table says as much about fewer
WIDE = 20.0  # a spread of medians over this needs a logarithmic axis
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#343a40}"
    ".castwork{fill:#d9480f}.before{fill:#ffa94d}.floor{fill:#adb5bd}.peer{fill:#4c6ef5}"
    "line{stroke:#343a40;stroke-width:1.5}"
)


def draw(
    data: dict[str, Any], scenarios: dict[str, Scenario], folder: Path, prefix: str = ""
) -> dict[str, Path]:
    """Draws the first figure of each scenario that has enough peers, and returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for scenario in scenarios.values():
        table, _ = summarize(data, scenario.name)
        column = scenario.columns[0]
        cells = {peer: row[column.key] for peer, row in table.items() if column.key in row}
        if len(cells) >= FEWEST:
            file = folder / f"{prefix}{scenario.name}.svg"
            file.write_text(_bars(cells, scenario, column))
            files[scenario.name] = file
    return files


def _kind(peer: str) -> str:
    if peer == "castwork":
        return "castwork"
    if peer.startswith("castwork"):
        return "before"
    return "floor" if peer.startswith("floor-") else "peer"


class _Axis:
    """Turns values into places, on a logarithmic scale where the smallest bar would vanish."""

    def __init__(self, cells: dict[str, Cell]) -> None:
        medians = [cell.median for cell in cells.values()]
        self.top = max(cell.high for cell in cells.values()) or 1.0
        low = min(medians)
        self.logarithmic = low > 0 and max(medians) / low > WIDE
        self.bottom = low / 2 if self.logarithmic else 0.0

    def at(self, value: float) -> float:
        if not self.logarithmic:
            return max(0.0, value) / self.top * SPAN
        span = math.log(self.top / self.bottom)
        return max(0.0, math.log(max(value, self.bottom) / self.bottom)) / span * SPAN


def _bars(cells: dict[str, Cell], scenario: Scenario, column: Column) -> str:
    """Horizontal bars of the medians, best on top, with whiskers from lowest to highest."""
    peers = sorted(cells, key=lambda peer: cells[peer].median, reverse=column.better == "more")
    axis = _Axis(cells)
    scale = ", logarithmic" if axis.logarithmic else ""
    height = TOP + ROW * len(peers) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',  # whatever the page's colours are
        f'<text x="4" y="16">{escape(scenario.title)}</text>',
        f'<text x="4" y="33">{escape(column.label)}, {column.better} is better{scale}</text>',
    ]
    for index, peer in enumerate(peers):
        cell, y = cells[peer], TOP + ROW * index
        end, low, high = (LABELS + axis.at(v) for v in (cell.median, cell.low, cell.high))
        lines += [
            f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(peer)}</text>'
            f'<rect class="{_kind(peer)}" x="{LABELS}" y="{y + 2}" width="{end - LABELS:.1f}" '
            f'height="{ROW - 5}"/>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 9.5}" y2="{y + 9.5}"/>'
            f'<text x="{max(end, high) + 6:.1f}" y="{y + 13}">'
            f"{cell.median:,.{column.digits}f}</text>"
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
