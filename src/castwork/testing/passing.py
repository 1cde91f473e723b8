"""Passing: lets time pass on a server, by moving what is stored back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from castwork.store.place import QueuePlace
from castwork.store.queue_store import QueueStore


async def let_pass(stores: Sequence[QueueStore], seconds: float, *, alive: str) -> None:
    """Move the times of some queues back.

    Args:
        stores: the queues.
        seconds: by how much.
        alive: the worker whose leases stay as they are.
    """
    passed = int(seconds * 1000)
    for store in stores:
        place = store.place
        seconds_now, micros = await place.call("TIME")
        now_ms = int(seconds_now) * 1000 + int(micros) // 1000
        for index in (place.keys.due, place.keys.ticks, place.keys.waking):
            for name, at in await place.call("ZRANGE", index, 0, -1, "WITHSCORES"):
                # What becomes due is due now: a schedule may leave out runs that are late.
                moved = max(int(at) - passed, min(int(at), now_ms))
                await place.call("ZADD", index, "XX", moved, name)
        for name, at in await place.call("ZRANGE", place.keys.rates, 0, -1, "WITHSCORES"):
            await place.call("ZADD", place.keys.rates, "XX", int(at) - passed * 1000, name)
        for stream in place.keys.lanes:
            await _let_leases_pass(place, stream, passed, alive)
        await _let_keys_pass(place, passed)


async def _let_leases_pass(place: QueuePlace, stream: str, passed: int, alive: str) -> None:
    group = place.queue.group
    if not await place.call("EXISTS", stream):
        return
    pending: Any = await place.call("XPENDING", stream, group, "-", "+", 1000)
    for entry, consumer, idle, times in pending:
        if consumer.decode() != alive:
            kept = ("IDLE", int(idle) + passed, "RETRYCOUNT", times, "JUSTID")
            await place.call("XCLAIM", stream, group, consumer, 0, entry, *kept)


async def _let_keys_pass(place: QueuePlace, passed: int) -> None:
    """End, or bring nearer to their end, records, outputs and keys."""
    cursor: Any = b"0"
    while True:
        cursor, names = await place.call("SCAN", cursor, "MATCH", f"{place.keys.prefix}*")
        for name in names:
            left = int(await place.call("PTTL", name))
            if left > 0:
                await place.call("PEXPIRE", name, left - passed)  # deletes what would have ended
        if cursor == b"0":
            return
