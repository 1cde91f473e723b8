"""SVG plots, drawn from the JSON of a run: one per main figure of each scenario."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")  # before pyplot: no display is needed

import matplotlib.pyplot as plt

from .results import Table, summarize
from .scenario import Column, Scenario

OURS, FLOOR, PEER = "#d9480f", "#adb5bd", "#4c6ef5"
WIDE = 20.0  # a spread of medians over this needs a logarithmic axis


def draw(
    data: dict[str, Any], scenarios: dict[str, Scenario], folder: Path
) -> dict[str, list[Path]]:
    """Draws every main figure that the run has, and returns the files by scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update(
        # The same data, the same file; text stays text.
        {"svg.hashsalt": "castwork", "svg.fonttype": "none", "font.size": 9}
    )
    files: dict[str, list[Path]] = {}
    for scenario in scenarios.values():
        table, _ = summarize(data, scenario.name)
        for column in scenario.columns:
            if column.main and any(column.key in row for row in table.values()):
                file = folder / f"{scenario.name}-{column.key}.svg"
                _bars(table, scenario, column, data, file)
                files.setdefault(scenario.name, []).append(file)
    return files


def _colour(peer: str) -> str:
    if peer.startswith("castwork"):
        return OURS
    return FLOOR if peer.startswith("floor-") else PEER


def _bars(
    table: Table, scenario: Scenario, column: Column, data: dict[str, Any], file: Path
) -> None:
    """Horizontal bars of the medians, best on top, with whiskers from lowest to highest."""
    cells = {peer: row[column.key] for peer, row in table.items() if column.key in row}
    peers = sorted(cells, key=lambda peer: cells[peer].median, reverse=column.better == "less")
    medians = [cells[peer].median for peer in peers]
    spread = [
        [cells[peer].median - cells[peer].low for peer in peers],
        [cells[peer].high - cells[peer].median for peer in peers],
    ]
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.28 * len(peers)), layout="constrained")
    bars = axes.barh(
        peers, medians, xerr=spread, color=[_colour(peer) for peer in peers], capsize=2
    )
    axes.bar_label(bars, [f" {value:,.{column.digits}f}" for value in medians], padding=6)
    positive = [value for value in medians if value > 0]
    if positive and max(positive) / min(positive) > WIDE:
        axes.set_xscale("log")
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{scenario.title}\n{column.label}, {column.better} is better", fontsize=9)
    settings = data["settings"]
    axes.set_xlabel(f"{settings['server']}, medians of {settings['repeat']}, lowest to highest")
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
