"""Checkup: reads whether a server and the queues on it are well; changes nothing."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from castwork.model.errors import AuthenticationFailed, ServerRefused
from castwork.model.ids import is_worker_id
from castwork.redis.link import Link
from castwork.redis.server import ServerInfo, read_server
from castwork.store.place import QueuePlace

_PINGS = 20

#: Stale entries that are counted per lane at most.
_COUNTED = 100


class Persistence(msgspec.Struct):
    """What a server keeps on disk.

    Attributes:
        appends: whether it has an append-only file, so that tasks outlive a restart.
        wrote: whether the server's last write to that file went well.
        saved: whether its last snapshot went well, or none is made.
    """

    appends: bool
    wrote: bool
    saved: bool


class ServerHealth(msgspec.Struct):
    """How one server is.

    Attributes:
        address: where it is.
        protocol: the version of RESP that the link speaks; 0 where the server does not say.
        pings: seconds that each of some PINGs took.
        skew: seconds by which the server's clock is ahead of ours.
        persistence: None where the server's ACL hides it.
        info: what the server is, None where its ACL hides that.
        peers: primaries of the cluster that it belongs to, itself included; 1 for no cluster, 0
            where the server does not say.
    """

    address: str
    protocol: int
    pings: list[float]
    skew: float
    persistence: Persistence | None
    info: ServerInfo | None
    peers: int


class QueueHealth(msgspec.Struct):
    """How one queue is.

    Attributes:
        dead: dead letters.
        running: tasks that workers hold.
        stale: running tasks without a sign of life for long; at most 100 per lane are counted.
            Programs of others in the group give no signs of life: what they hold is stale once
            `foreign_lease` has passed as well.
        consumers: workers that the server knows of, lost workers included.
        missing: lanes on which no worker has made the consumer group yet.
        paused: whether workers may begin no tasks.
    """

    dead: int = 0
    running: int = 0
    stale: int = 0
    consumers: int = 0
    missing: list[str] = msgspec.field(default_factory=list)
    paused: bool = False


async def examine_server(link: Link) -> ServerHealth:
    """Look at a server.

    Raises:
        ConnectionFailed: it does not answer in time.
    """
    pings = []
    for _ in range(_PINGS):
        begin = time.perf_counter()
        await link.call("PING")
        pings.append(time.perf_counter() - begin)
    before = time.time()
    seconds, micros = await link.call("TIME")
    skew = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    protocol = int(link.hello.get(b"proto", 0))
    return ServerHealth(
        address=str(link.endpoint),
        protocol=protocol,
        pings=pings,
        skew=skew,
        persistence=await _read_persistence(link),
        info=await read_server(link),
        peers=await _count_peers(link),
    )


async def examine_queue(place: QueuePlace, *, stale_after: float) -> QueueHealth:
    """Look at a queue.

    Args:
        place: the queue.
        stale_after: seconds without a sign of life after which a running task is stale.

    Raises:
        ConnectionFailed: no server in time.
    """
    keys, queue, call = place.keys, place.queue, place.call
    dead, paused = await call("XLEN", keys.dead), await call("EXISTS", keys.paused)
    health = QueueHealth(dead=int(dead), paused=bool(paused))
    idle_ms = int(stale_after * 1000)
    names: set[bytes] = set()
    for lane, stream in zip(queue.lanes, keys.lanes, strict=True):
        try:
            idle = await call("XPENDING", stream, queue.group, "IDLE", idle_ms, "-", "+", _COUNTED)
            consumers = await call("XINFO", "CONSUMERS", stream, queue.group)
        except ServerRefused:
            health.missing.append(lane.name)
            continue
        health.stale += sum(
            queue.stream is None
            or is_worker_id(holder.decode(errors="replace"))
            or silent_ms > queue.foreign_lease * 1000
            for _, holder, silent_ms, _ in idle
        )
        health.running += sum(int(consumer[b"pending"]) for consumer in consumers)
        names |= {consumer[b"name"] for consumer in consumers}
    health.consumers = len(names)
    return health


async def _read_persistence(link: Link) -> Persistence | None:
    try:
        raw: Any = await link.call("INFO", "persistence")
    except (AuthenticationFailed, ServerRefused):
        return None
    lines = (line.partition(":") for line in raw.decode().splitlines() if ":" in line)
    facts = {name: value for name, _, value in lines}
    return Persistence(
        appends=facts.get("aof_enabled") == "1",
        wrote=facts.get("aof_last_write_status", "ok") == "ok",
        saved=facts.get("rdb_last_bgsave_status", "ok") == "ok",
    )


async def _count_peers(link: Link) -> int:
    if link.hello.get(b"mode") != b"cluster":
        return 1
    try:
        raw: Any = await link.call("CLUSTER", "INFO")
    except (AuthenticationFailed, ServerRefused):
        return 0
    found = re.search(rb"cluster_size:([0-9]+)", raw)
    return int(found[1]) if found else 0
