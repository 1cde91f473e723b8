"""The command line of run.py."""

import argparse
from pathlib import Path
from typing import Any

from scenarios import SCENARIOS

from .catalog import BEFORE, PEERS
from .envs import BENCHMARKS

LATEST = BENCHMARKS / "results" / "latest.json"


def arguments(about: str | None, words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _what(parser)
    _where(parser)
    chosen = parser.parse_args(words)
    chosen.peers = pick(parser, chosen.peers, PEERS, "peer")
    chosen.scenarios = pick(parser, chosen.scenarios, SCENARIOS, "scenario")
    return chosen


def _what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--peers", nargs="*", metavar="PEER", help=f"default all of: {' '.join(PEERS)}")
    add("--scenarios", nargs="*", metavar="NAME", help=f"default all of: {' '.join(SCENARIOS)}")
    add("--server", choices=["valkey", "redis"], default="valkey")
    add("--repeat", type=int, default=3, help="interleaved repetitions (default 3)")
    add("--scale", type=float, default=1.0, help="factor on task counts and durations")
    add(
        "--loop",
        choices=["auto", "asyncio"],
        default="auto",
        help="asyncio: no uvloop in producers",
    )
    add(
        "--before",
        default=BEFORE,
        metavar="REVISION",
        help=f"what castwork-before is, of this repository (default {BEFORE})",
    )


def _where(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--against", default="castwork", help="the peer that ratios divide (default castwork)")
    add("--out", type=Path, default=LATEST, metavar="FILE")
    add(
        "--resume",
        action="store_true",
        help="go on with what the raw file beside --out holds: measure what it lacks",
    )
    add("--plots", type=Path, metavar="FOLDER", help="also draw SVG plots there")
    add(
        "--page",
        type=Path,
        metavar="FILE",
        help="put tables and plots into this page of the documentation, between its two marks",
    )
    add("--report", type=Path, metavar="FILE", help="measure nothing: print and plot these results")


def pick(
    parser: argparse.ArgumentParser, names: list[str] | None, known: dict[str, Any], what: str
) -> list[Any]:
    """Returns the named entries; a folder's name picks all its variants (`taskiq`); nothing named
    picks all.
    """
    chosen: dict[str, Any] = {}
    for name in names or known:
        matching = {k: v for k, v in known.items() if k == name}
        matching = matching or {
            k: v for k, v in known.items() if getattr(v, "folder", None) == name
        }
        if not matching:
            parser.error(f"unknown {what} {name}; there are: {' '.join(known)}")
        chosen |= matching
    return list(chosen.values())
