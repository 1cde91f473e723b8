"""`castwork doctor` on servers and backends that are not well."""

from __future__ import annotations

import json
from typing import Any

import redis
from tests.cli.processes import castwork, environment

from castwork.embedded import EmbeddedServer
from castwork.model.queue import GROUP, Queue
from castwork.store.keys import QueueKeys


def examine(url: str, code: int) -> dict[str, dict[str, Any]]:
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=url)
    found = castwork("doctor", "--json", env=env)
    assert found.returncode == code, found
    return {check["name"]: check for check in json.loads(found.stdout)}


def test_no_server_fails() -> None:
    checks = examine("redis://127.0.0.1:1", code=1)
    assert checks["server"]["level"] == "fail"
    assert "127.0.0.1:1" in checks["server"]["message"]


def test_a_server_that_evicts_queues_fails(own_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    checks = examine(own_server.url, code=1)
    assert "allkeys-lru" in checks["eviction"]["message"]
    assert "CONFIG SET maxmemory-policy noeviction" in checks["eviction"]["mend"]
    assert checks["login"]["level"] == "ok"  # it goes on looking
    assert "castwork worker" in checks["workers"]["mend"]


def test_a_server_that_evicts_results_is_warned_of(own_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "volatile-lru")
    checks = examine(own_server.url, code=0)
    assert checks["eviction"]["level"] == "warn"
    assert "volatile-lru" in checks["eviction"]["message"]


def test_a_backend_without_workers_is_warned_of(own_server: EmbeddedServer) -> None:
    checks = examine(own_server.url, code=0)
    assert checks["workers"]["level"] == "warn"
    assert "no live worker serves it" in checks["default"]["message"]
    assert "no group 'workers'" in checks["default"]["message"]


def test_what_is_left_in_a_queue_is_told(own_server: EmbeddedServer) -> None:
    keys = QueueKeys.of("cw", Queue("slow"))
    with redis.Redis.from_url(own_server.url) as client:
        client.xadd(keys.dead, {"id": "slow-1"})
        for lane in keys.lanes:
            client.xgroup_create(lane, GROUP, "0", mkstream=True)
        client.xadd(keys.lanes[0], {"call": "nap x {}"}, id="1-1")
        client.xreadgroup(GROUP, "gone", {keys.lanes[0]: ">"})
        client.xclaim(keys.lanes[0], GROUP, "gone", 0, ["1-1"], idle=70_000)
    found = examine(own_server.url, code=0)["slow"]["message"]
    assert "1 running, 1 consumer" in found
    assert "1 tasks without a sign of life for a minute" in found
    assert "1 dead letters" in found
    assert "no group" not in found


def test_a_server_that_hides_facts_is_said_to(own_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.acl_setuser(
            "shy",
            enabled=True,
            passwords=["+pw"],
            categories=["+@all"],
            commands=["-info"],
            keys=["*"],
            channels=["*"],
        )
    url = own_server.url.replace("redis://", "redis://shy:pw@")
    checks = examine(url, code=0)
    assert checks["server"]["level"] == checks["login"]["level"] == "warn"
    assert "ACL hides INFO" in checks["server"]["message"]
    assert checks["login"]["mend"] == "ACL SETUSER shy +info"
