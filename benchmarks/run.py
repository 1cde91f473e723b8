"""Measures castwork beside its peers: `python benchmarks/run.py --peers castwork ardiq --scenarios
drain latency`.

Repetitions are interleaved (every peer once, then every peer again), each on a fresh server, so
that a slow minute of the machine hits all peers alike. See benchmarks/README.md for what the
scenarios measure and whom they favour.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from harness import compact, plots, report
from harness.catalog import Peer
from harness.child_environ import describe
from harness.envs import UnavailableError
from harness.options import arguments
from harness.processes import TrialError
from harness.results import Results
from harness.scenario import Scenario
from harness.server import Server
from harness.trial import Trial
from scenarios import SCENARIOS


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
        "before": options.before,
    }
    results = Results(options.out, settings, resume=options.resume)
    asked = [
        dataclasses.replace(peer, revision=options.before) if peer.revision else peer
        for peer in options.peers
    ]
    peers = usable(asked, results)
    for scenario in options.scenarios:
        able = [peer for peer in peers if scenario.takes(peer)]
        for repetition in range(options.repeat):
            for peer in able:
                if not results.has(scenario.name, peer.name, repetition):
                    _one(scenario, peer, repetition, options, results)
    return results.compact()


def _one(
    scenario: Scenario,
    peer: Peer,
    repetition: int,
    options: argparse.Namespace,
    results: Results,
) -> None:
    started = time.monotonic()
    outcome = measure(scenario, peer, options)
    results.add(scenario.name, peer.name, repetition, outcome)
    took = time.monotonic() - started
    line = report.one_line(scenario, outcome)
    count = f"{repetition + 1}/{options.repeat}"
    print(f"{scenario.name} {count} {peer.name}: {line} [{took:.0f} s]", file=sys.stderr)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way servers and workers end
    options = arguments(__doc__)
    data = compact.read(options.report) if options.report else run(options)
    print(report.markdown(data, SCENARIOS, options.against))
    links: dict[str, str] = {}
    if options.plots:
        base = options.page.parent if options.page else Path()
        prefix = f"{options.page.stem}-" if options.page else ""
        drawn = plots.draw(data, SCENARIOS, options.plots, prefix)
        links = {scenario: os.path.relpath(file, base) for scenario, file in drawn.items()}
    if options.page:
        report.fill(options.page, report.body(data, SCENARIOS, options.against, links))


if __name__ == "__main__":
    main()
