"""Places: who asks for something opens the connections, and databases do not hear one another."""

from __future__ import annotations

import asyncio

import pytest
import redis
from tests.eventually import eventually
from tests.store.box import Box

from castwork import App, AppSettings, TaskState
from castwork.model.queue import Queue
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.store.look import look_at_queue


async def test_the_first_call_opens_the_connections(server_url: str, namespace: str) -> None:
    connections = Connections(lambda: server_url, LinkSettings())
    box = Box(connections, namespace, Queue("q"))
    assert not connections.is_open

    ids = await asyncio.gather(*(box.put() for _ in range(10)))
    assert connections.is_open
    assert len({task_id for (task_id,) in ids}) == 10
    await connections.close()
    assert len(await box.put()) == 1, "they open again"
    await connections.close()


async def test_a_queue_is_looked_at_in_one_round_trip(box: Box, plain: redis.Redis) -> None:
    await box.held(2)
    await box.put(3)
    await box.put_named(box.named("q:later", delay_ms=60_000))

    info = await look_at_queue(box.place)
    assert info.waiting == {"high": 0, "normal": 3, "low": 0}
    assert (info.running, info.scheduled, info.dead, info.depth) == (2, 1, 0, 5)
    plain.delete(*box.keys.lanes, box.keys.due)
    plain.set(box.keys.due, "of another kind")
    info = await look_at_queue(box.place)
    assert (info.running, info.scheduled, info.depth) == (0, 0, 0)


def declare(url: str, namespace: str) -> App:
    app = App(url, settings=AppSettings(namespace=namespace))
    app.setting("limit", int, default=1)

    @app.task(queue="q")
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    @app.task(queue="q")
    async def echo(number: int) -> int:
        return number

    return app


@pytest.mark.one_server("a cluster has no databases")
async def test_apps_on_two_databases_do_not_hear_each_other(
    server_url: str, namespace: str
) -> None:
    first, second = (declare(f"{server_url}?db={n}", namespace) for n in (0, 1))
    async with first, second, first.worker(announce_after=0.001), second.worker():
        assert second.connections.database == 1
        await first.shared_settings["limit"].set(7)
        await second.shared_settings["limit"].set(8)
        limits = [app.shared_settings["limit"] for app in (first, second)]
        await eventually(lambda: [limit.value for limit in limits] == [7, 8])

        # The same id in both: a cancel in one database does not reach the other's worker.
        held = [
            await app.tasks.get("wait_for_ever").options(id="same").enqueue()
            for app in (first, second)
        ]
        assert held[0].id == held[1].id
        assert await held[1].cancel(timeout=10)
        assert (await held[1].status()).status is TaskState.CANCELLED
        assert not (await held[0].status()).status.is_final

        # Nor does an outcome.
        waiting = asyncio.create_task(held[0].wait(timeout=20))
        done = await second.tasks.get("echo").options(id="other").enqueue(3)
        assert await done.result(timeout=10) == 3
        assert not waiting.done()
        assert await held[0].cancel(timeout=10)
        assert (await waiting).status is TaskState.CANCELLED
