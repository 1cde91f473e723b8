"""Enqueues no-ops with nobody working: one by one, from 200 coroutines at once, and with the peer's
own bulk call.
"""

from typing import Any

from harness.measure import cpu_seconds
from harness.processes import Producer
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

MICROSECONDS = 1e6


def _rate(producer: Producer, count: int, mode: str, **options: Any) -> tuple[float, float]:
    """Returns tasks per second and the producer's CPU in microseconds per task."""
    producer.enqueue(
        max(20, count // 10), mode=mode, **options
    )  # connections, scripts and caches warm up
    cpu = cpu_seconds([producer.pid])
    seconds = producer.enqueue(count, mode=mode, **options)["seconds"]
    return count / seconds, (cpu_seconds([producer.pid]) - cpu) / count * MICROSECONDS


def run(trial: Trial) -> Figures:
    producer, fill = trial.producer(), trial.peer.fill_pace
    count = trial.scaled(min(10_000, fill), least=100)
    figures: Figures = {}
    figures["one"], figures["one_cpu"] = _rate(producer, count, "one")
    figures["concurrent"], figures["concurrent_cpu"] = _rate(producer, 2 * count, "concurrent")
    if trial.description["bulk"]:
        for size in (100, 1000):
            rounds = trial.scaled(min(40_000, fill) // size, least=2)
            figures[f"bulk{size}"], figures[f"bulk{size}_cpu"] = _rate(
                producer, rounds * size, "bulk", size=size
            )
    return figures


SCENARIO = Scenario(
    "enqueue",
    "Enqueue: tasks per second of one producer process",
    (
        Column("one", "one by one/s", main=True),
        Column("one_cpu", "one by one: CPU µs", "less", 1),
        Column("concurrent", "200 coroutines/s", main=True),
        Column("concurrent_cpu", "200 coroutines: CPU µs", "less", 1),
        Column("bulk100", "bulk of 100/s", main=True),
        Column("bulk1000", "bulk of 1,000/s", main=True),
        Column("bulk1000_cpu", "bulk of 1,000: CPU µs", "less", 1),
    ),
    run,
    note=(
        "A client that blocks (celery, rq, dramatiq, mayu) gains nothing from coroutines; `-` "
        "where a peer has no bulk call."
    ),
)
