"""Slots: how a cluster spreads keys over its servers."""

from __future__ import annotations

import binascii

#: Slots of every cluster (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).
SLOTS = 16384


def slot_of(key: str) -> int:
    """The slot of a key: the CRC16 of its hash tag, or of the whole key if it has none.

    The hash tag is what stands between the first `{` and the first `}` after it. An empty tag
    counts as none.
    """
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS
