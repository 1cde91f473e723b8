from __future__ import annotations

import redis

from castwork.redis.slots import slot_of

KEYS = ["", "a", "{a}:b", "x{a}y", "{}a", "a{}b{c}", "{{a}}", "a{b", "a}b{c}", "ключ", "{ö}"]


def test_a_keys_slot_is_the_servers(cluster_url: str) -> None:
    with redis.Redis.from_url(cluster_url) as client:
        theirs = [client.execute_command("CLUSTER", "KEYSLOT", key) for key in KEYS]

    assert [slot_of(key) for key in KEYS] == theirs


def test_keys_with_one_hash_tag_share_a_slot() -> None:
    assert slot_of("{q}:stream:high") == slot_of("{q}:dead") == slot_of("q")
