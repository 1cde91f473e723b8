"""The register of workers as those read it who count on workers."""

from __future__ import annotations

import msgspec
import pytest
import redis

from castwork.model.worker_info import WorkerInfo
from castwork.redis.connections import Connections
from castwork.store.keys import WorkerKeys
from castwork.store.members import Members
from castwork.store.place import RegisterPlace
from castwork.store.register import LOST_AFTER, Register


async def test_a_line_that_does_not_decode_is_named_and_hides_no_other(
    connections: Connections,
    namespace: str,
    plain: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = RegisterPlace(connections, namespace)
    members = Members.of_workers(place)
    info = WorkerInfo("w2", "host", 7, 0.0, ["q"], 10, 0, [], {}, mark="m")
    await members.beat("w1", b"[" * 100_000, 30_000)
    await members.beat("w2", msgspec.json.encode(info), 30_000)
    plain.zincrby(WorkerKeys(namespace).register, -1000 * (LOST_AFTER + 1), "w2")

    [worker] = await Register(place).workers()

    assert (worker.info, worker.is_lost) == (info, True)
    assert "the register's line of w1 was skipped" in caplog.text
