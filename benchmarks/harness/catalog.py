"""The peers: which folder, which variant of it, which Python, and roughly how fast.

`pace` is a round figure of tasks per second, used for nothing but to choose how many tasks a run
takes, so that slow and fast peers are measured over a similar time.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One row of the tables."""

    name: str
    folder: str
    pace: int
    fill_pace: int
    variant: str = ""
    python: tuple[int, int] = (3, 11)

    def tasks(self, seconds: float, least: int = 200, most: int = 40_000) -> int:
        """Returns how many tasks keep this peer busy for about `seconds`."""
        return max(least, min(most, int(self.pace * seconds)))


def _peer(
    name: str,
    pace: int,
    fill_pace: int,
    folder: str | None = None,
    variant: str = "",
    python: tuple[int, int] = (3, 11),
) -> Peer:
    return Peer(name, folder or name, pace, fill_pace, variant, python)


_ALL = [
    _peer("castwork", 30_000, 50_000),
    _peer("floor-hiredis", 50_000, 100_000),
    _peer("floor-redispy", 25_000, 50_000),
    _peer("ardiq", 10_000, 45_000, python=(3, 12)),
    _peer("blitzq", 8_000, 25_000, python=(3, 12)),
    _peer("blitzq-fast", 16_000, 35_000, "blitzq", "fast", (3, 12)),
    _peer("taskiq-stream", 1_900, 3_300, "taskiq", "stream"),
    _peer("taskiq-list", 1_700, 3_300, "taskiq", "list"),
    _peer("streaq", 1_000, 11_000),
    _peer("arq", 1_500, 2_000, variant="poll"),
    _peer("arq-default", 1_000, 2_000, "arq", "default"),
    _peer("saq", 2_000, 4_200),
    _peer("celery", 700, 1_400, variant="prefork"),
    _peer("celery-threads", 650, 1_400, "celery", "threads"),
    _peer("rq", 270, 10_000, variant="simple"),
    _peer("rq-fork", 60, 10_000, "rq", "fork"),
    _peer("dramatiq", 1_700, 4_200),
    _peer("pydocket", 400, 8_500),
    _peer("faststream", 3_000, 6_200),
    _peer("bullmq", 1_600, 18_000),
    _peer("tarsk", 9_000, 4_200),
    _peer("mayu", 10_000, 7_500, python=(3, 13)),
]
PEERS = {peer.name: peer for peer in _ALL}
