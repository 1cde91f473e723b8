"""What is said of servers: each fault with its risk and what mends it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from castwork.cli.doctor.check import Check, Level
from castwork.cli.doctor.servers import _of_server, _tls
from castwork.redis.address import parse_url
from castwork.redis.server import Needs, ServerInfo
from castwork.store.checkup import Persistence, ServerHealth

INFO = ServerInfo("Redis", "7.4.1", (7, 4, 1), 1000, "noeviction", used_memory=100)
KEEPS = Needs()
HEALTH = ServerHealth("here:1", 3, [0.001] * 3, 0.0, Persistence(True, True, True), INFO, 1)


def checks(needs: Needs = KEEPS, **changes: Any) -> dict[str, Check]:
    """The findings about a healthy server with some changes, those of INFO among them."""
    info = {name: changes.pop(name) for name in list(changes) if name in INFO.__struct_fields__}
    made = {**{name: getattr(HEALTH, name) for name in HEALTH.__struct_fields__}, **changes}
    if info:
        made["info"] = ServerInfo(
            **{name: info.get(name, getattr(INFO, name)) for name in INFO.__struct_fields__}
        )
    return {check.name: check for check in _of_server(ServerHealth(**made), needs)}


def test_a_healthy_server_has_nothing_to_mend() -> None:
    found = checks()

    assert {check.level for check in found.values()} == {Level.OK}
    assert not any(check.mend for check in found.values())
    names = ["server", "memory", "eviction", "persistence", "protocol", "latency", "clock"]
    assert list(found) == names


@pytest.mark.parametrize(
    ("changes", "name", "level", "risk", "mend"),
    [
        ({"compatible": (6, 0)}, "server", "fail", "too old", "Redis 6.2"),
        ({"info": None}, "server", "warn", "hides INFO", "+info"),
        ({"used_memory": 950}, "memory", "warn", "95% .* OutOfMemory", "CONFIG SET maxmemory"),
        ({"eviction": "allkeys-lru"}, "eviction", "fail", "queues.*vanish", "noeviction"),
        ({"eviction": "volatile-ttl"}, "eviction", "warn", "results", "noeviction"),
        (
            {"persistence": Persistence(False, True, True)},
            *("persistence", "warn", "restart of the server loses", "CONFIG SET appendonly yes"),
        ),
        ({"persistence": Persistence(True, False, True)}, "persistence", "fail", "failed", "room"),
        ({"persistence": Persistence(False, True, False)}, "persistence", "fail", "failed", "room"),
        ({"peers": 3}, "cluster", "fail", "3 primaries.*MOVED", "without cluster mode"),
        ({"peers": 0}, "cluster", "warn", "a node of a cluster", "without cluster mode"),
        ({"protocol": 2}, "protocol", "warn", "RESP3", ""),
        ({"pings": [0.02] * 3}, "latency", "warn", "20.00 ms", "SLOWLOG"),
        ({"skew": -3.0}, "clock", "warn", "3000 ms", "timedatectl"),
    ],
    ids=str,
)
def test_a_fault_comes_with_its_risk_and_what_mends_it(
    changes: dict[str, Any], name: str, level: str, risk: str, mend: str
) -> None:
    check = checks(**changes)[name]

    assert check.level == level
    assert re.search(risk, check.message)
    assert mend in check.mend


def test_eviction_is_judged_by_what_the_app_keeps_and_allows() -> None:
    plain = checks(Needs(keeps_data=False), eviction="allkeys-lru")["eviction"]
    allowed = checks(Needs(allows_eviction=True), eviction="allkeys-lru")["eviction"]
    unbounded = checks(eviction="allkeys-lru", maxmemory=0)["eviction"]

    assert (plain.level, allowed.level, unbounded.level) == ("ok", "warn", "ok")
    assert "allow_eviction takes that risk" in allowed.message


@pytest.mark.parametrize(
    ("url", "level", "said"),
    [
        ("unix:///run/redis", "ok", "on this machine"),
        ("redis://localhost", "ok", "on this machine"),
        ("redis://far.example", "warn", "in between reads"),
        ("rediss://far.example", "ok", "certificate checked"),
        ("rediss://far.example?ssl_cert_reqs=none", "warn", "not checked"),
    ],
)
def test_tls_is_judged_by_where_the_server_is(url: str, level: str, said: str) -> None:
    check = _tls(parse_url(url))

    assert check.level == level
    assert said in check.message
    assert bool(check.mend) == (level == "warn")
