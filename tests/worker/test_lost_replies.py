"""Replies that are lost between the server and a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.proxy import Proxy
from tests.worker.conftest import MakeRoles
from tests.worker.test_passes import expire

from castwork import App, AppSettings
from castwork.model.errors import EffectUnknown


@pytest.fixture
async def app(proxy: Proxy, namespace: str) -> AsyncIterator[App]:
    """An app whose connections lead through the proxy."""
    made = App(proxy.url, settings=AppSettings(namespace=namespace))
    yield made
    await made.close()


async def test_recovery_whose_reply_was_lost_finds_what_it_took(
    app: App, make_roles: MakeRoles, plain: redis.Redis, proxy: Proxy
) -> None:
    @app.task(queue="q", timeout=30.0)
    async def hold() -> None:
        await asyncio.Event().wait()

    lost, heir = await make_roles("lost"), await make_roles("heir")
    await hold.enqueue_many([()] * 2)
    await lost.recovery.sweep()  # the server knows the script from now on
    await lost.claims.claim(2, [0, 0, 0])
    expire(plain, lost)
    heir.workload.origins = heir.workload.origins[1:2]  # the lane whose reply is lost
    proxy.drop_next("EVALSHA")

    with pytest.raises(EffectUnknown):
        await heir.recovery.sweep()
    await heir.recovery.sweep()

    assert proxy.dropped
    assert [attempt.crashes for attempt in heir.workload.attempts] == [1, 1]
