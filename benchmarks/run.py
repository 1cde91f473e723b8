"""Measures castwork beside its peers: `python benchmarks/run.py --peers castwork ardiq --scenarios
drain latency`.

Repetitions are interleaved (every peer once, then every peer again), each on a fresh server, so
that a slow minute of the machine hits all peers alike. See benchmarks/README.md for what the
scenarios measure and whom they favour.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from harness import report
from harness.catalog import PEERS, Peer
from harness.envs import UnavailableError
from harness.results import Results
from harness.scenario import Scenario
from harness.server import Server
from harness.trial import Trial, TrialError, describe
from scenarios import SCENARIOS

HERE = Path(__file__).resolve().parent


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", nargs="*", metavar="PEER", help=f"default all of: {' '.join(PEERS)}"
    )
    parser.add_argument(
        "--scenarios", nargs="*", metavar="NAME", help=f"default all of: {' '.join(SCENARIOS)}"
    )
    parser.add_argument("--server", choices=["valkey", "redis"], default="valkey")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved repetitions (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on task counts and durations"
    )
    parser.add_argument(
        "--loop",
        choices=["auto", "asyncio"],
        default="auto",
        help="asyncio: no uvloop in producers",
    )
    parser.add_argument(
        "--against", default="castwork", help="the peer that ratios divide (default castwork)"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "latest.json", metavar="FILE"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with what --out holds: measure what it lacks, of the peers and scenarios named",
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also draw SVG plots there")
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="put tables and plots into this page of the documentation, between its two marks",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="measure nothing: print and plot this JSON"
    )
    chosen = parser.parse_args(words)
    chosen.peers = pick(parser, chosen.peers, PEERS, "peer")
    chosen.scenarios = pick(parser, chosen.scenarios, SCENARIOS, "scenario")
    return chosen


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


def usable(peers: list[Peer], results: Results) -> list[Peer]:
    """Makes the environments, records each peer's versions and settings, and drops those that
    cannot run here.
    """
    ready = []
    for peer in peers:
        try:
            results.data["peers"][peer.name] = describe(peer)
            ready.append(peer)
        except UnavailableError as reason:
            results.data["peers"][peer.name] = {"reason": str(reason)}
            print(f"{peer.name}: not run: {reason}", file=sys.stderr)
    return ready


def measure(scenario: Scenario, peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Runs one trial and returns its figures, or the reason why there are none."""
    try:
        with Trial(peer, options.server, options.scale, options.loop) as trial:
            figures = scenario.run(trial)
            remark = {"reason": "; ".join(trial.remarks)} if trial.remarks else {}
            return {"figures": figures} | remark
    except UnavailableError as reason:
        return {"reason": f"not run: {reason}"}
    except TrialError as reason:
        return {"reason": f"failed: {reason}"}


def run(options: argparse.Namespace) -> dict[str, Any]:
    with Server(options.server) as server:
        version = server.version()
    settings = {
        "server": version,
        "repeat": options.repeat,
        "scale": options.scale,
        "loop": options.loop,
    }
    results = Results(options.out, settings, resume=options.resume)
    peers = usable(options.peers, results)
    for scenario in options.scenarios:
        able = [peer for peer in peers if scenario.only is None or peer.name in scenario.only]
        for repetition in range(options.repeat):
            for peer in able:
                if results.has(scenario.name, peer.name, repetition):
                    continue
                started = time.monotonic()
                outcome = measure(scenario, peer, options)
                results.add(scenario.name, peer.name, repetition, outcome)
                took = time.monotonic() - started
                line = report.one_line(scenario, outcome)
                print(
                    f"{scenario.name} {repetition + 1}/{options.repeat} {peer.name}: {line} "
                    f"[{took:.0f} s]",
                    file=sys.stderr,
                )
    return results.data


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way servers and workers end
    options = arguments()
    data = report.load(options.report) if options.report else run(options)
    print(report.markdown(data, SCENARIOS, options.against))
    links: dict[str, list[str]] = {}
    if options.plots:
        from harness import plots

        base = options.page.parent if options.page else Path()
        for scenario, files in plots.draw(data, SCENARIOS, options.plots).items():
            links[scenario] = [os.path.relpath(file, base) for file in files]
    if options.page:
        report.fill(options.page, report.body(data, SCENARIOS, options.against, links))


if __name__ == "__main__":
    main()
