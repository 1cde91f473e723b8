"""What the processes of a peer are started with, and what its adapter says of itself."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .catalog import Peer
from .envs import BENCHMARKS, PEERS, UnavailableError, environment

CHILD = BENCHMARKS / "harness" / "child"
DRIVER = str(CHILD / "driver.py")
FOREIGN = ("PYTHON", "VIRTUAL_ENV", "CASTWORK_")  # what the caller's shell sets for other purposes


def environ(peer: Peer, url: str, folder: Path, loop: str) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    return keep | {
        "PYTHONPATH": os.pathsep.join([str(PEERS / peer.folder), str(CHILD)]),
        "PATH": os.pathsep.join([str(environment(peer).parent), keep.get("PATH", "")]),
        "BENCH_URL": url,
        "BENCH_VARIANT": peer.variant,
        "BENCH_RUN_DIR": str(folder),
        "BENCH_LOOP": loop,
    }


@functools.cache
def describe(peer: Peer) -> dict[str, Any]:
    """Returns the versions, settings and abilities that the peer's adapter states.

    Raises:
        UnavailableError: there is no environment for it, or its adapter fails.
    """
    done = subprocess.run(
        [str(environment(peer)), DRIVER, "describe"],
        env=environ(peer, "redis://127.0.0.1:1/0", BENCHMARKS, "auto"),
        cwd=PEERS / peer.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["?"]
        raise UnavailableError(f"adapter fails: {said[-1]}"[:300])
    description: dict[str, Any] = json.loads(done.stdout)
    return description | ({"revision": peer.revision} if peer.revision else {})
