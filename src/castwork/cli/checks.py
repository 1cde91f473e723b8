"""What `castwork doctor` looks at. Each check says what was found, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from statistics import median

import msgspec

from castwork.app import App
from castwork.cli.overview import server_facts
from castwork.model.queue import Queue
from castwork.redis.server import ServerInfo
from castwork.store.checkup import (
    Persistence,
    QueueHealth,
    ServerHealth,
    examine_queue,
    examine_server,
)

#: Seconds without a sign of life after which nobody seems to look after a running task.
_STALE_AFTER = 60.0


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct):
    """One finding."""

    name: str
    level: Level
    message: str


def _check(name: str, fine: bool, message: str) -> Check:
    return Check(name, Level.OK if fine else Level.WARN, message)


async def check_servers(app: App) -> list[Check]:
    """Whether servers answer fast, have the right time, and keep tasks.

    Raises:
        ConnectionFailed: a server does not answer in time.
    """
    info = app.connections.server
    if info is None:
        found = [_check("server", False, "its ACL hides INFO: version and policy are not checked")]
    else:
        found = [_check("server", True, str(server_facts(app))), _memory(info)]
    links = app.connections.links()
    for link in links:
        health = await examine_server(link)
        of_server = _of_server(health)
        if len(links) > 1:
            for check in of_server:
                check.message += f" ({health.address})"
        found += of_server
    return found


def _memory(info: ServerInfo) -> Check:
    bound = f"maxmemory {info.maxmemory:,} bytes" if info.maxmemory else "no maxmemory"
    safe = info.eviction == "noeviction" or not info.maxmemory
    advice = "" if safe else ": results may be evicted early; set it to noeviction"
    return _check("memory", safe, f"{bound}, policy {info.eviction}{advice}")


def _of_server(health: ServerHealth) -> list[Check]:
    times = [seconds * 1000 for seconds in health.pings]
    text = f"PING takes {median(times):.2f} ms, at most {max(times):.2f} ms of {len(times)}"
    is_late = abs(health.skew) >= 2
    clock = f"the clocks differ by {abs(health.skew) * 1000:.0f} ms" + (": set them" * is_late)
    return [
        _check("protocol", health.protocol == 3, f"RESP{health.protocol or '?'}"),
        _check("latency", median(times) < 10, text),
        _check("clock", not is_late, clock),
        _persistence(health.persistence),
    ]


def _persistence(found: Persistence | None) -> Check:
    name = "persistence"
    if found is None:
        return _check(name, False, "its ACL hides INFO: not checked")
    if not found.appends:
        return _check(name, False, "no append-only file: a restart of the server loses tasks")
    if not found.wrote:
        text = "append-only file: the last write FAILED, see the server's log"
        return Check(name, Level.FAIL, text)
    return _check(name, True, "append-only file")


async def check_work(app: App) -> list[Check]:
    """Whether queues are served, and nothing is forgotten in them.

    Raises:
        ConnectionFailed: no server in time.
    """
    workers = await app.workers()
    alive = [worker for worker in workers if not worker["lost"]]
    lost = len(workers) - len(alive)
    text = f"{len(alive)} alive" + (f", {lost} lost a while ago" if lost else "")
    found = [_check("workers", bool(alive) and not lost, text)]
    served = {name for worker in alive for name in worker["queues"]}
    for store in app.served():
        health = await examine_queue(store.place, stale_after=_STALE_AFTER)
        found.append(_of_queue(store.queue, health, is_served=store.queue.name in served))
    return found


def _of_queue(queue: Queue, health: QueueHealth, *, is_served: bool) -> Check:
    problems = []
    if health.missing:
        lanes = ", ".join(health.missing)
        problems.append(f"no group {queue.group!r} on {lanes}: no worker has been here")
    if not is_served:
        problems.append("no live worker serves it")
    if health.stale:
        problems.append(
            f"{health.stale} tasks without a sign of life for a minute: is a worker hanging?"
        )
    if health.dead:
        problems.append(f"{health.dead} dead letters (castwork dead list)")
    plural = "" if health.consumers == 1 else "s"
    facts = f"{health.running} running, {health.consumers} consumer{plural}"
    name = queue.name if queue.stream is None else f"{queue.name} ({queue.group})"
    return _check(name, not problems, "; ".join([facts, *problems]))
