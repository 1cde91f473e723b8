"""No-ops flow through one worker while another one holds 10,000 unfinished tasks."""

from harness.drains import TIMEOUT
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial


def run(trial: Trial) -> Figures:
    trial.need("hold")
    held, sample = trial.scaled(10_000, least=100), trial.tasks(seconds=2)
    producer = trial.producer()
    trial.expect(0)
    producer.enqueue(held, "hold")
    slots = held // trial.description["held_per_slot"]
    with trial.workers(slots, kind="hold") as holder:
        trial.wait(holder, lambda count: count.begun >= slots, 60)
        cpu = holder.cpu()
        producer.enqueue(sample)
        with trial.workers() as workers:
            count = trial.wait(
                workers, lambda count: count.executed >= 0.9 * sample, TIMEOUT, pause=0.005
            )
        seconds = count.last - count.first_end
        return {
            "rate": (count.executed - 1) / seconds,
            "held": held,
            "holder_cpu": (holder.cpu() - cpu) / seconds * 100,
        }


SCENARIO = Scenario(
    "pending",
    "Pending: throughput while another worker holds 10,000 unfinished tasks",
    (
        Column("rate", "tasks/s", main=True),
        Column("holder_cpu", "CPU % of the holding worker", "less", 1),
        Column("held", "held"),
    ),
    run,
    note=(
        "Peers whose workers are threads or processes cannot hold 10,000 tasks. A worker that "
        "prefetches as many tasks as it has slots gets half as many slots, so that it holds "
        "10,000 as well."
    ),
)
