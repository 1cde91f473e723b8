"""Whether servers are fit for an App: version, memory, disk, TLS, clock, latency."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from statistics import median

from castwork.app import App
from castwork.cli.doctor.check import Check, fail, fine, warn
from castwork.redis.address import Target
from castwork.redis.server import Needs, ServerInfo
from castwork.store.checkup import Persistence, ServerHealth, examine_server

_NO_EVICTION = (
    "CONFIG SET maxmemory-policy noeviction (a managed service has a setting of its own, such as"
    " `az redisenterprise database update --eviction-policy NoEviction`)"
)

#: The part of maxmemory from which on a server is said to be nearly full.
_NEARLY_FULL = 0.9


async def check_servers(app: App) -> list[Check]:
    """Look at each server that the App has a link to.

    Raises:
        ConnectionFailed: a server does not answer in time.
    """
    links = app.connections.links()
    found = [_tls(app.connections.target)]
    for link in links:
        of_server = list(_of_server(await examine_server(link), app.needs()))
        if len(links) > 1:
            for check in of_server:
                check.message += f" ({link.endpoint})"
        found += of_server
    return found


def _of_server(health: ServerHealth, needs: Needs) -> Iterator[Check]:
    if health.info is None:
        yield warn(
            "server",
            "its ACL hides INFO: version, memory and disk are not checked",
            "ACL SETUSER <user> +info",
        )
    else:
        yield _version(health.info, health.address)
        yield _memory(health.info)
        yield _eviction(health.info, needs)
    if health.persistence is not None:
        yield _persistence(health.persistence)
    if health.peers != 1:
        yield _cluster(health.peers)
    yield _protocol(health.protocol)
    yield _latency(health.pings)
    yield _clock(health.skew)


def _version(info: ServerInfo, address: str) -> Check:
    text = f"{info.product} {info.version} at {address}"
    if info.is_too_old:
        return fail("server", f"{text} is too old: commands are missing", "Redis 6.2 or Valkey")
    return fine("server", text)


def _memory(info: ServerInfo) -> Check:
    if not info.maxmemory:
        return fine("memory", f"{info.used_memory:,} bytes used, no maxmemory")
    used = info.used_memory / info.maxmemory
    text = f"{used:.0%} of maxmemory {info.maxmemory:,} bytes used"
    if used < _NEARLY_FULL:
        return fine("memory", text)
    when_full = (
        "keys are evicted" if info.eviction != "noeviction" else "enqueue raises OutOfMemory"
    )
    return warn(
        "memory",
        f"{text}: when it is full, {when_full}",
        "CONFIG SET maxmemory <bytes>; or keep less: `castwork dead purge`, a shorter result_ttl",
    )


def _eviction(info: ServerInfo, needs: Needs) -> Check:
    name, text = "eviction", f"policy {info.eviction}"
    if info.evicts_results:
        risk = "results and idempotency keys may go early, queued tasks are safe"
        return warn(name, f"{text}: {risk}", _NO_EVICTION)
    if not info.evicts_all:
        return fine(name, text)
    if not needs.keeps_data:
        return fine(name, f"{text}: fine for channels without history, which is all there is")
    risk = "whole queues, histories and settings vanish when the memory is full"
    if needs.allows_eviction:
        return warn(name, f"{text}: {risk}; allow_eviction takes that risk", _NO_EVICTION)
    return fail(name, f"{text}: {risk}; castwork refuses this server", _NO_EVICTION)


def _persistence(found: Persistence) -> Check:
    name = "persistence"
    if found.appends and not found.wrote:
        return fail(
            name,
            "the last write to the append-only file failed: the server refuses what is new, and a"
            " restart loses it",
            "make room on the server's disk, and see its log",
        )
    if found.appends:
        return fine(name, "append-only file")
    if not found.saved:
        return fail(
            name,
            "the last snapshot failed: many servers then refuse writes, and a restart loses tasks",
            "make room on the server's disk, and see its log",
        )
    return warn(
        name,
        "no append-only file: a restart of the server loses tasks",
        "CONFIG SET appendonly yes, then CONFIG REWRITE; for the embedded server:"
        " castwork up --data DIR",
    )


def _cluster(peers: int) -> Check:
    """What it means that the server is a node of a cluster; 0 where it hides the others."""
    risk = "castwork asks this node alone, and calls for keys of other nodes fail with MOVED"
    mend = "use a server without cluster mode, or a proxy with one address"
    if not peers:
        return warn("cluster", f"a node of a cluster: if there are others, {risk}", mend)
    return fail("cluster", f"one of {peers} primaries of a cluster: {risk}", mend)


def _protocol(version: int) -> Check:
    if version == 3:
        return fine("protocol", "RESP3")
    return warn("protocol", f"RESP{version or '?'}: RESP3 is needed for subscriptions")


def _tls(target: Target) -> Check:
    context = target.tls
    if context is None and target.is_loopback:
        return fine("tls", "none, on this machine")
    if context is None:
        return warn(
            "tls",
            "none: whoever is in between reads tasks, results and the login",
            "a port of the server that speaks TLS, and rediss:// in the URL",
        )
    if context.verify_mode == ssl.CERT_NONE:
        return warn(
            "tls",
            "the server's certificate is not checked: another server may play it",
            "?ssl_ca_certs=FILE in the URL instead of ssl_cert_reqs=none",
        )
    return fine("tls", "certificate checked")


def _latency(pings: list[float]) -> Check:
    times = [seconds * 1000 for seconds in pings]
    text = f"a PING takes {median(times):.2f} ms, the longest of {len(times)} {max(times):.2f} ms"
    if median(times) < 10:
        return fine("latency", text)
    return warn(
        "latency",
        f"{text}: every task waits for some round trips",
        "run near the server; see what keeps it busy with SLOWLOG GET 10",
    )


def _clock(skew: float) -> Check:
    text = f"the clocks differ by {abs(skew) * 1000:.0f} ms"
    if abs(skew) < 2:
        return fine("clock", text)
    return warn(
        "clock",
        f"{text}: times that are shown are wrong, and logins with an end may be used after it",
        "timedatectl set-ntp true, on both machines",
    )
