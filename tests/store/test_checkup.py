"""What a checkup of a queue counts."""

from __future__ import annotations

import pytest
import redis

from castwork import App
from castwork.model.ids import process_id
from castwork.store.checkup import examine_queue


@pytest.mark.parametrize(("silent", "stale"), [(120, 1), (400, 2)])
async def test_what_a_slow_program_may_still_hold_is_not_stale(
    app: App, namespace: str, plain: redis.Redis, silent: int, stale: int
) -> None:
    stream = f"{namespace}:events"

    @app.task(stream=stream, group="g", foreign_lease=300)
    async def adopt(prompt: str) -> None: ...

    plain.xgroup_create(stream, "g", id="0", mkstream=True)
    for consumer in ("node-1", process_id("host")):
        entry = plain.xadd(stream, {"prompt": "hi"})
        plain.xreadgroup("g", consumer, {stream: ">"})
        plain.xclaim(stream, "g", consumer, 0, [entry], idle=silent * 1000)

    async with app:
        [store] = app.served()
        health = await examine_queue(store.place, stale_after=60)

    assert (health.running, health.stale, health.consumers) == (2, stale, 2)
