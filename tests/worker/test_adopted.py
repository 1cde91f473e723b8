"""A worker on a stream that other programs write and read."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from tests.eventually import eventually

from castwork import App
from castwork.model.task_options import TaskOptions


@pytest.mark.parametrize(
    ("options", "left", "taken"),
    [({}, [200_000, 290_000], [301_000]), ({"foreign_lease": 250}, [200_000], [290_000, 301_000])],
)
async def test_entry_of_a_slow_program_is_taken_after_the_lease_of_foreign_consumers(
    app: App,
    namespace: str,
    plain: redis.Redis,
    options: TaskOptions,
    left: list[int],
    taken: list[int],
) -> None:
    stream, ran = f"{namespace}:events", []

    @app.task(stream=stream, group="g", **options)
    async def work(idle: int) -> None:
        ran.append(idle)

    plain.xgroup_create(stream, "g", "0", mkstream=True)
    for idle in (*left, *taken):
        entry = plain.xadd(stream, {"idle": idle})
        plain.xreadgroup("g", "node-1", {stream: ">"})
        plain.xclaim(stream, "g", "node-1", 0, [entry], idle=idle, justid=True)

    async with app, app.worker(lease=1.0):
        await eventually(lambda: len(ran) >= len(taken), what="what is due is taken")

    assert ran == taken
    held: list[dict[str, Any]] = plain.xpending_range(stream, "g", "-", "+", 10)
    assert [one["consumer"] for one in held] == [b"node-1"] * len(left)
