"""Where an App has links to several servers, each is asked, and named."""

from __future__ import annotations

import pytest
from tests.redis.links import link_to
from tests.servers import listening_server

from castwork import App
from castwork.cli.doctor.servers import check_servers


async def test_each_server_is_looked_at_and_named(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(server_url)
    await app.connections.open()
    with listening_server() as url:
        second = link_to(url)
        await second.open()
        links = (*app.connections.links(), second)
        monkeypatch.setattr(app.connections, "links", lambda: links)

        found = await check_servers(app)

        for link in links:
            named = {check.name for check in found if f"({link.endpoint})" in check.message}
            assert {"server", "memory", "eviction", "persistence", "latency", "clock"} <= named
        await second.close()
    await app.close()
