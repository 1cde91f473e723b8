"""What `castwork doctor` looks at. Each check says what it found, and what to do about it."""

from __future__ import annotations

import time
from enum import StrEnum
from statistics import median
from typing import Any

import msgspec

from castwork.app import App
from castwork.cli.status import describe_server, server_facts
from castwork.model.errors import AuthenticationFailed, ServerRefused
from castwork.redis.link import Link
from castwork.tasks.queue import Queue

#: Milliseconds of an entry without renewal after which nobody seems to look after it.
_STALE_MS = 60_000

_PINGS = 20


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct):
    """One finding."""

    name: str
    level: Level
    message: str


async def check_connection(app: App) -> list[Check]:
    """The server answers, how fast, in which protocol, and what time it has."""
    call = app.connections.commands.call
    found = [_check("server", True, describe_server(server_facts(app)))]
    if app.connections.server is None:
        found = [_check("server", False, "its ACL hides INFO: version and policy are not checked")]
    hello = await _facts(app.connections.commands, "HELLO")
    protocol = hello.get(b"proto", 0)
    found.append(_check("protocol", protocol == 3, f"RESP{protocol or '?'}"))
    times = []
    for _ in range(_PINGS):
        begin = time.perf_counter()
        await call("PING")
        times.append((time.perf_counter() - begin) * 1000)
    text = f"PING takes {median(times):.2f} ms, at most {max(times):.2f} ms of {_PINGS}"
    found.append(_check("latency", median(times) < 10, text))
    begin = time.time()
    seconds, micros = await call("TIME")
    skew = int(seconds) + int(micros) / 1e6 - (begin + time.time()) / 2
    text = f"the clocks differ by {abs(skew) * 1000:.0f} ms"
    found.append(_check("clock", abs(skew) < 2, text + (": set them" if abs(skew) >= 2 else "")))
    return found


async def check_server(app: App) -> list[Check]:
    """Tasks outlive memory pressure, and a restart."""
    found = []
    info = app.connections.server
    if info is not None:
        bound = f"maxmemory {info.maxmemory:,} bytes" if info.maxmemory else "no maxmemory"
        safe = info.eviction == "noeviction" or not info.maxmemory
        advice = "" if safe else ": results may be evicted early; set it to noeviction"
        found.append(_check("memory", safe, f"{bound}, policy {info.eviction}{advice}"))
    facts = await _info(app.connections.commands, "persistence")
    if not facts:
        return [*found, _check("persistence", False, "its ACL hides INFO: not checked")]
    if facts.get("aof_enabled") == "1":
        fine = facts.get("aof_last_write_status") == "ok"
        text = "append-only file" + (
            "" if fine else ": the last write FAILED, see the server's log"
        )
        return [*found, Check("persistence", Level.OK if fine else Level.FAIL, text)]
    text = "no append-only file: a restart of the server loses tasks"
    return [*found, _check("persistence", False, text)]


async def check_work(app: App) -> list[Check]:
    """Queues are served, and nothing is forgotten in them."""
    workers = await app.workers()
    alive = [worker for worker in workers if not worker["lost"]]
    lost = len(workers) - len(alive)
    text = f"{len(alive)} alive" + (f", {lost} lost a while ago" if lost else "")
    found = [_check("workers", bool(alive) and not lost, text)]
    served = {name for worker in alive for name in worker["queues"]}
    app.dead_letters()  # declares the group subscriptions, whose queues are looked at too
    for queue in app.tasks.queues():
        found.append(await _check_queue(app, queue, is_served=queue.name in served))
    return found


async def _check_queue(app: App, queue: Queue, *, is_served: bool) -> Check:
    call = app.connections.commands.call
    dead = int(await call("XLEN", queue.keys.dead))
    stale, missing, consumers, pending = 0, [], set(), 0
    for lane in queue.lanes:
        try:
            stale += len(
                await call("XPENDING", lane.stream, lane.group, "IDLE", _STALE_MS, "-", "+", 100)
            )
            members = await call("XINFO", "CONSUMERS", lane.stream, lane.group)
        except ServerRefused:
            missing.append(lane.name)
            continue
        consumers |= {member[b"name"] for member in members}
        pending += sum(int(member[b"pending"]) for member in members)
    problems = []
    if missing:
        problems.append(
            f"no group {queue.group!r} on {', '.join(missing)}: no worker has been here"
        )
    if not is_served:
        problems.append("no live worker serves it")
    if stale:
        problems.append(f"{stale} tasks without a sign of life for a minute: is a worker hanging?")
    if dead:
        problems.append(f"{dead} dead letters (castwork dead list)")
    facts = f"{pending} running, {len(consumers)} consumers"
    name = f"{queue.name} ({queue.group})" if queue.adopted else queue.name
    return _check(name, not problems, "; ".join([facts, *problems]))


def _check(name: str, fine: bool, message: str) -> Check:
    return Check(name, Level.OK if fine else Level.WARN, message)


async def _info(link: Link, section: str) -> dict[str, str]:
    """A section of INFO; empty where the ACL hides it."""
    try:
        raw = await link.call("INFO", section)
    except (AuthenticationFailed, ServerRefused):
        return {}
    lines = (line.partition(":") for line in raw.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


async def _facts(link: Link, *command: Any) -> dict[bytes, Any]:
    try:
        reply = await link.call(*command)
    except (AuthenticationFailed, ServerRefused):
        return {}
    return reply if isinstance(reply, dict) else {}
