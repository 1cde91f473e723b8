"""5,000 tasks that wait 50 ms, at concurrency 200: what a worker adds when tasks mostly wait."""

from harness.drains import drain
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

CONCURRENCY, WAIT = 200, 0.05


def run(trial: Trial) -> Figures:
    tasks = trial.scaled(5000, least=CONCURRENCY)
    count = drain(trial, tasks, "sleep50", CONCURRENCY).count
    seconds = count.last - count.first
    return {"seconds": seconds, "ideal": seconds / (tasks / CONCURRENCY * WAIT)}


SCENARIO = Scenario(
    "sleep50",
    "Waiting tasks: 5,000 of 50 ms at concurrency 200",
    (Column("ideal", "times ideal", "less", 3, main=True), Column("seconds", "seconds", "less", 2)),
    run,
    note=(
        "Ideal is 5,000 / 200 × 50 ms = 1.25 s from the first start. Below 1: the peer ran more"
        " than 200 at once."
    ),
)
