"""The time from enqueue to the result in the caller's hands: idle, then while other tasks flow at
half load.
"""

import time
from statistics import median, quantiles

from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

MS = 1000.0


def _percentiles(samples: list[float], name: str) -> Figures:
    p99 = quantiles(samples, n=100, method="inclusive")[98]
    return {
        f"{name}_p50": median(samples) * MS,
        f"{name}_p99": p99 * MS,
        f"{name}_samples": len(samples),
    }


def run(trial: Trial) -> Figures:
    trial.need("waits")
    count, seconds = trial.scaled(1000, least=20), max(5.0, 20 * trial.scale)
    trial.expect(0)
    with trial.workers() as workers:
        prober = trial.producer()
        prober.enqueue(1, mode="one")  # what a worker does at its start is over before the samples
        trial.wait(workers, lambda count: count.executed >= 1, 60)
        prober.ask("latency", count=20, seconds=30, pause=0.01)
        figures = _percentiles(
            prober.ask("latency", count=count, seconds=seconds, pause=0.002)["samples"], "idle"
        )
        rate = _half_load(trial)
        loader = trial.producer()
        loader.send("load", rate=rate, seconds=seconds + 1.5)
        time.sleep(1)  # the load is steady before the first sample
        samples = prober.ask("latency", count=count, seconds=seconds, pause=0.002)["samples"]
        figures |= _percentiles(samples, "half") | {"offered": loader.receive()["rate"]}
    return figures


def _half_load(trial: Trial) -> float:
    """Half of what the peer takes end to end: the time for a burst to be enqueued and executed, on
    these workers.
    """
    burst, producer = trial.tasks(seconds=1), trial.producer()
    before = trial.tallies.read().executed
    started = time.monotonic()
    producer.enqueue(burst, mode="concurrent")
    while trial.tallies.read().executed < before + burst and time.monotonic() < started + 60:
        time.sleep(0.005)
    return 0.5 * burst / (time.monotonic() - started)


SCENARIO = Scenario(
    "latency",
    "Latency: from enqueue to the result, one caller",
    (
        Column("idle_p50", "idle p50 ms", "less", 2, main=True),
        Column("idle_p99", "idle p99 ms", "less", 2),
        Column("half_p50", "half load p50 ms", "less", 2, main=True),
        Column("half_p99", "half load p99 ms", "less", 2),
        Column("offered", "offered load/s"),
        Column("idle_samples", "samples"),
    ),
    run,
    note=(
        "Half load is half of the rate at which this peer, on these cores, took a burst from "
        "enqueue to end; so a faster peer is measured under more load."
    ),
)
