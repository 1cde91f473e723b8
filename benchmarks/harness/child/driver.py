"""Runs in a peer's environment: the producer that the harness drives, the starter of its workers.

    driver.py describe                            prints versions and settings as one JSON line
    driver.py worker CONCURRENCY PROCESSES KIND   becomes the peer's worker
    driver.py exec NAME [ARG...]                  becomes what the adapter's function NAME returns
    driver.py produce                             answers JSON requests, a line each

Needs the standard library only. `adapter` is the peer's own module, found through PYTHONPATH.
"""

import asyncio
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from typing import Any

# Before the adapter is imported: some applications take these when they are made.
if sys.argv[1:2] == ["worker"]:
    os.environ["BENCH_CONCURRENCY"], os.environ["BENCH_KIND"] = sys.argv[2], sys.argv[4]

import adapter  # type: ignore[import-not-found]
import bodies  # type: ignore[import-not-found]
from producing import Producer, Request, has_bulk  # type: ignore[import-not-found]


def describe() -> dict[str, Any]:
    packages = sorted(
        {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    )
    return {
        "python": platform.python_version(),
        "packages": [p for p in packages if not p.startswith(("pip==", "setuptools=="))],
        "settings": adapter.SETTINGS,
        "import": adapter.IMPORT,
        "bulk": has_bulk(),
        "results": hasattr(adapter, "result"),
        "waits": getattr(adapter, "WAITS", hasattr(adapter, "result")),
        "kinds": list(adapter.KINDS),
        "embedded": hasattr(adapter, "embedded_command"),
        "held_per_slot": getattr(adapter, "HELD_PER_SLOT", 1),
        "own_processes": getattr(adapter, "OWN_PROCESSES", False),
    }


async def produce() -> None:
    """Keeps the loop and the connections alive between requests, as a web process would."""
    await adapter.setup()
    producer = Producer()
    reply({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        method: Callable[[Request], Awaitable[dict[str, Any]]] = getattr(producer, request["do"])
        try:
            reply(await method(request))
        except Exception as error:
            reply({"error": f"{type(error).__name__}: {error}"[:300]})


def reply(answer: dict[str, Any]) -> None:
    os.write(ANSWERS, json.dumps(answer).encode() + b"\n")


def become(command: list[str]) -> None:
    os.execvp(command[0], command)


def main(arguments: list[str]) -> None:
    verb, *rest = arguments
    if verb == "describe":
        reply(describe())
    elif verb == "worker":
        become(adapter.worker_command(int(rest[0]), int(rest[1])))
    elif verb == "exec":
        os.dup2(ANSWERS, 1)  # the harness reads what this command prints
        become(getattr(adapter, rest[0])(*rest[1:]))
    else:
        bodies.run(produce())


ANSWERS = os.dup(1)  # answers go to the real stdout; whatever a library prints goes to stderr
if __name__ == "__main__":
    os.dup2(2, 1)
    main(sys.argv[1:])
