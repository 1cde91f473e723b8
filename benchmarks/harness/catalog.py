"""The peers: which folder, which variant of it, which Python, and roughly how fast.

`pace` and `fill_pace` are round figures of tasks per second, used for nothing but to choose how
many tasks a run takes, so that slow and fast peers are measured over a similar time.
"""

from dataclasses import dataclass

BEFORE = "6ad9a5d"  # the revision of castwork that its present state is compared with
DRAINING = frozenset({"drain", "server_cost", "cpu_memory", "backlog", "idle"})


@dataclass(frozen=True)
class Peer:
    """One row of the tables."""

    name: str
    pace: int
    fill_pace: int
    folder: str
    variant: str = ""
    python: tuple[int, int] = (3, 11)
    revision: str = ""  # of this repository, measured instead of the working tree
    program: str = ""  # a source in C that its environment needs compiled
    only: frozenset[str] | None = None  # the scenarios that it can take part in; none: all

    def tasks(self, seconds: float, least: int = 200, most: int = 100_000) -> int:
        """Returns how many tasks keep this peer busy for about `seconds`."""
        return max(least, min(most, int(self.pace * seconds)))


def _floor(name: str, variant: str, program: str = "") -> Peer:
    return Peer(name, 50_000, 100_000, "floor", variant, program=program, only=DRAINING)


_ALL = [
    Peer("castwork", 30_000, 50_000, "castwork"),
    Peer("castwork-before", 30_000, 50_000, "castwork", revision=BEFORE),
    _floor("floor-c", "c", "drain.c"),
    _floor("floor-c-fenced", "c-fenced", "drain.c"),
    _floor("floor-python", "python"),
    Peer("floor-hiredis", 50_000, 100_000, "floor", variant="asyncio"),
    Peer("ardiq", 10_000, 45_000, "ardiq", python=(3, 12)),
    Peer("blitzq", 8_000, 25_000, "blitzq", python=(3, 12)),
    Peer("blitzq-fast", 16_000, 35_000, "blitzq", variant="fast", python=(3, 12)),
    Peer("taskiq-stream", 1_900, 3_300, "taskiq", variant="stream"),
    Peer("taskiq-list", 1_700, 3_300, "taskiq", variant="list"),
    Peer("streaq", 1_000, 11_000, "streaq"),
    Peer("arq", 1_500, 2_000, "arq", variant="poll"),
    Peer("arq-default", 1_000, 2_000, "arq", variant="default"),
    Peer("saq", 2_000, 4_200, "saq"),
    Peer("celery", 700, 1_400, "celery", variant="prefork"),
    Peer("celery-threads", 650, 1_400, "celery", variant="threads"),
    Peer("rq", 270, 10_000, "rq", variant="simple"),
    Peer("rq-fork", 60, 10_000, "rq", variant="fork"),
    Peer("dramatiq", 1_700, 4_200, "dramatiq"),
    Peer("pydocket", 400, 8_500, "pydocket"),
    Peer("faststream", 3_000, 6_200, "faststream"),
    Peer("bullmq", 1_600, 18_000, "bullmq"),
    Peer("tarsk", 9_000, 4_200, "tarsk"),
    Peer("mayu", 10_000, 7_500, "mayu", python=(3, 13)),
]
PEERS = {peer.name: peer for peer in _ALL}
