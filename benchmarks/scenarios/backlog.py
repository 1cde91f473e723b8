"""Throughput, and the server's time per fetch, while up to 1,000,000 tasks wait behind."""

from harness.drains import TIMEOUT
from harness.scenario import Column, Figures, Scenario
from harness.trial import Trial

LEVELS = {"1k": 1_000, "100k": 100_000, "1m": 1_000_000}
FILL_LIMIT = 60.0  # seconds that filling may take, or the level is left out
FETCHES = (
    "xreadgroup",
    "evalsha",
    "eval",
    "fcall",
    "blmove",
    "lmove",
    "brpop",
    "blpop",
    "lpop",
    "rpop",
    "zpopmin",
    "bzpopmin",
    "zrangebyscore",
    "brpoplpush",
)


def run(trial: Trial) -> Figures:
    figures: Figures = {}
    for name, level in LEVELS.items():
        waiting = trial.scaled(level)
        sample = trial.tasks(seconds=2)
        if (waiting + sample) / trial.peer.fill_pace > FILL_LIMIT:
            continue
        with trial.again() as deep:
            figures |= {
                f"{key}_{name}": value for key, value in _level(deep, waiting, sample).items()
            }
    return figures


def _level(trial: Trial, waiting: int, sample: int) -> Figures:
    """Fills `waiting + sample` tasks and measures until `sample` are executed: so many always wait
    behind.
    """
    trial.expect(waiting + sample)
    trial.producer().enqueue(waiting + sample)
    trial.server.reset_statistics()
    with trial.workers() as workers:
        count = trial.wait(workers, lambda count: count.executed >= sample, TIMEOUT, pause=0.005)
        p99 = trial.server.command_p99()
    fetches = [p99[name] for name in FETCHES if name in p99]
    return {"rate": count.rate, "fetch": max(fetches, default=0.0)}


SCENARIO = Scenario(
    "backlog",
    "Backlog: throughput with this many tasks waiting behind",
    (
        Column("rate_1k", "1,000: tasks/s", main=True),
        Column("rate_100k", "100,000: tasks/s", main=True),
        Column("rate_1m", "1,000,000: tasks/s", main=True),
        Column("fetch_1k", "slowest command p99 µs, 1,000", "less", 1),
        Column("fetch_100k", "100,000", "less", 1),
        Column("fetch_1m", "1,000,000", "less", 1),
    ),
    run,
    note=(
        f"`-` where filling would take over {FILL_LIMIT:.0f} s. The command time is the "
        "server's own 99th percentile "
        "(latencystats) of the slowest of the commands that fetch or run scripts."
    ),
)
