"""Streams that are open while the server is away go on when it is back."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
from tests.eventually import eventually
from tests.gateway.conftest import Gates, declare, read_events, serving, take

from castwork import App, AppSettings, Backoff, LinkSettings
from castwork.embedded import EmbeddedServer
from castwork.gateway import create_gateway

#: Seconds: short, so that calls fail while the server is away.
LINK = LinkSettings(call_timeout=0.2, backoff=Backoff(base=0.02, longest=0.1))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def test_streams_go_on_when_the_server_is_back(tmp_path: Path, gates: Gates) -> None:
    port = free_port()
    with EmbeddedServer(data=tmp_path, port=port) as server:
        app = App(server.url, settings=AppSettings(link=LINK))
        declare(app, gates)
        async with serving(create_gateway(app)) as url, httpx.AsyncClient(base_url=url) as client:
            reply = await client.post("/tasks/spell", json={"word": "abc"})
            path = f"/tasks/{reply.json()['task_id']}/events"
            async with (
                client.stream("GET", path) as task_stream,
                client.stream("GET", "/channels/news/events") as news_stream,
            ):
                task, news = read_events(task_stream), read_events(news_stream)
                assert (await take(task, 1))[0].data["status"] == "queued"
                await client.post("/channels/news", json={"n": 1})
                assert (await take(news, 1))[0].data == {"n": 1}

                await asyncio.to_thread(server.stop)
                await eventually(lambda: not app.connections.pushes.is_connected)
                refused = await client.post("/channels/news", json={"n": 2})
                assert (refused.status_code, refused.json()["error"]) == (503, "server_unavailable")
                await asyncio.to_thread(server.start)
                await eventually(lambda: app.connections.pushes.is_connected)

                published = await client.post("/channels/news", json={"n": 3})
                assert published.status_code == 202
                assert (await take(news, 1))[0].data == {"n": 3}  # what was refused was not done
                async with app.worker():
                    heard = await take(task, 1)
                    while heard[-1].type != "result":
                        heard += await take(task, 1)
                text = "".join(event.data for event in heard if event.type == "chunk")
                assert text == "abc"
