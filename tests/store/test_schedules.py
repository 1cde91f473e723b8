"""Schedules as the server keeps them: each run is fired once, whoever asks how often."""

from __future__ import annotations

import asyncio
import math
import sys

import pytest
import redis
from tests.store.box import Box

from castwork.model.schedules import Cron, Every
from castwork.model.states import Priority
from castwork.store.schedules import Kept, Scheduled, Schedules

KEPT = Kept("f", "{}", '{"owner":"ann"}', Priority.HIGH)


async def test_a_run_is_fired_once_however_many_ask(box: Box, plain: redis.Redis) -> None:
    schedules = Schedules(box.place)
    assert await schedules.put("s", Every(60), KEPT) is True
    assert await schedules.put("s", Every(60), KEPT) is False
    plain.zadd(box.keys.ticks, {"s": 5000})
    due = await schedules.due()
    [one] = due.schedules
    assert (one.id, one.at, one.when, one.kept) == ("s", 5.0, Every(60), KEPT)

    fired = await asyncio.gather(*(schedules.fire(one, 60.0, runs=True) for _ in range(10)))
    assert fired.count(True) == 1
    [(_, fields)] = plain.xrange(box.keys.lanes[0])
    assert fields == {b"call": b"f - {}", b"id": b"q:s.5000", b"meta": b'{"owner":"ann"}'}
    assert plain.zscore(box.keys.ticks, "s") == 60_000


async def test_a_run_is_left_out_or_is_the_last(box: Box, plain: redis.Redis) -> None:
    schedules = Schedules(box.place)
    await schedules.put("s", Every(60), KEPT)
    plain.zadd(box.keys.ticks, {"s": 5000})
    one = Scheduled("s", Every(60), KEPT, 5.0)
    assert await schedules.fire(one, math.inf, runs=False)
    assert plain.zscore(box.keys.ticks, "s") is None
    assert plain.xlen(box.keys.lanes[0]) == 0


async def test_a_run_whose_task_is_there_already_is_not_doubled(
    box: Box, plain: redis.Redis
) -> None:
    schedules = Schedules(box.place)
    await schedules.put("s", Every(60), KEPT)
    one = Scheduled("s", Every(60), KEPT, 5.0)
    for _ in range(2):  # as after a restart from an older snapshot
        plain.zadd(box.keys.ticks, {"s": 5000})
        assert await schedules.fire(one, 60.0, runs=True)
    assert plain.xlen(box.keys.lanes[0]) == 1


async def test_times_that_change_give_another_next_time_and_a_pause_stays(
    box: Box, plain: redis.Redis
) -> None:
    schedules = Schedules(box.place)
    await schedules.put("s", Every(60), KEPT)
    plain.zadd(box.keys.ticks, {"s": 5000})
    await schedules.put("s", Every(60), Kept("g", "{}"))
    assert plain.zscore(box.keys.ticks, "s") == 5000, "the times are the same"
    await schedules.put("s", Cron("0 3 * * *", timezone="UTC"), KEPT)
    assert (plain.zscore(box.keys.ticks, "s") or 0) > 5000
    await schedules.pause("s")
    await schedules.put("s", Every(30), KEPT)
    assert plain.zscore(box.keys.ticks, "s") is None
    await schedules.resume("s", Every(30))
    await schedules.resume("s", Every(30))
    assert plain.zcard(box.keys.ticks) == 1
    found = await schedules.get("s")
    assert found is not None
    assert found.when == Every(30)


async def test_what_cannot_be_fired_is_told_and_takes_nothing_along(
    box: Box, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules = Schedules(box.place)
    await schedules.put("fine", Every(60), KEPT)
    value = plain.hget(box.keys.schedules, "fine")
    assert isinstance(value, bytes)
    cron = await schedules.put("cron", Cron("0 3 * * *", timezone="UTC"), KEPT)
    malformed: dict[bytes, bytes] = {
        b"lane": value.replace(b'"high"', b'"urgent"'),
        b"two words": value,
        b"\xff": value,
        b"x" * 120: value,
        b"times": b'{"type":"every","seconds":[]}\n{"task":"f","args":"{}"}',
        b"empty": b"",
    }
    for name, text in malformed.items():
        plain.hset(box.keys.schedules, name, text)
    plain.zadd(box.keys.ticks, dict.fromkeys([b"fine", b"cron", *malformed], 5000))
    monkeypatch.setitem(sys.modules, "cronsim", None)
    due = await schedules.due()
    assert cron
    assert [one.id for one in due.schedules] == ["fine"]
    assert len(due.malformed) == len(malformed) + 1
    assert "castwork[cron]" in due.malformed["cron"]
    monkeypatch.undo()
    assert [one.id for one in await schedules.all()] == ["cron", "fine"]


async def test_a_schedule_is_kept_by_the_servers_clock(
    box: Box, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 5.0)
    schedules = Schedules(box.place)
    now = await schedules.now()
    await schedules.put("s", Every(60), KEPT)
    await schedules.pause("s")
    assert await schedules.resume("s", Every(60)) == (plain.zscore(box.keys.ticks, "s") or 0) / 1000
    assert now < (plain.zscore(box.keys.ticks, "s") or 0) / 1000 < now + 120
