"""Queues, workers, dead letters, probes, metrics, and the front door."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from tests.eventually import eventually
from tests.gateway.conftest import Gates, declare, serving
from tests.gateway.test_tasks import enqueue

from castwork import App, AppSettings, Backoff, LinkSettings
from castwork.embedded import EmbeddedServer
from castwork.gateway import create_gateway, gateway_lifespan, gateway_router


async def test_queues_tell_what_waits(client: httpx.AsyncClient) -> None:
    await enqueue(client, "idle")
    queues = {queue["name"]: queue for queue in (await client.get("/queues")).json()}
    assert queues["narrow"]["depth"] == 1
    assert queues["narrow"]["max_depth"] == 2
    assert queues["default"]["depth"] == 0


async def test_workers_tell_what_they_run(
    client: httpx.AsyncClient, worker: None, gates: Gates
) -> None:
    task_id = await enqueue(client, "wait")
    seen: list[dict[str, Any]] = []

    async def look() -> bool:
        seen[:] = (await client.get("/workers")).json()
        return bool(seen[0]["running"])

    await eventually(look)
    [only] = seen
    assert only["pid"] == os.getpid()
    assert sorted(only["queues"]) == ["default", "narrow"]
    assert only["host"]
    assert only["id"]
    assert [task["task_id"] for task in only["running"]] == [task_id]
    gates.open.set()


async def make_dead(client: httpx.AsyncClient) -> str:
    reply = await client.post("/tasks/fail?wait=10")
    assert reply.json()["status"] == "dead"
    return str(reply.json()["task_id"])


@pytest.mark.usefixtures("worker")
async def test_dead_letters_are_listed_replayed_and_purged(client: httpx.AsyncClient) -> None:
    first, second = await make_dead(client), await make_dead(client)
    letters = (await client.get("/dead")).json()
    assert [letter["task_id"] for letter in letters] == [second, first]
    assert (letters[0]["task"], letters[0]["attempts"]) == ("fail", 1)
    assert len((await client.get("/dead?limit=1")).json()) == 1
    assert (await client.get("/dead?queue=narrow")).json() == []
    [group] = (await client.get("/dead/groups")).json()
    assert (group["count"], group["newest"]) == (2, letters[0]["id"])
    assert (await client.get("/dead/groups?queue=narrow")).json() == []

    reply = await client.post(f"/dead/{first}/replay")
    assert reply.json() == {"task_id": first, "status": "queued", "queue": "default"}
    assert (await client.get(f"/tasks/{first}?wait=10")).json()["status"] == "dead"  # again
    [again] = [one for one in (await client.get("/dead")).json() if one["task_id"] == first]
    assert again["attempts"] == 2

    reply = await client.delete(f"/dead/{letters[0]['id']}")
    assert reply.json() == {"purged": letters[0]["id"], "queue": "default"}
    assert [one["task_id"] for one in (await client.get("/dead")).json()] == [first]


async def test_a_dead_letter_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    for reply in (
        await client.post("/dead/1-1/replay"),
        await client.delete("/dead/default-01J"),
        await client.get("/dead?queue=nowhere"),
    ):
        assert reply.status_code == 404
        assert reply.json()["error"] == "task_not_found"
    assert (await client.get("/dead?limit=0")).json()["field"] == "limit"


async def test_an_id_in_two_queues_is_409_until_the_queue_is_named(
    client: httpx.AsyncClient, app: App, plain: redis.Redis
) -> None:
    for function in (app.tasks.get("add"), app.tasks.get("idle")):
        letter: dict[Any, Any] = {
            "id": f"{function.queue.name}-1",
            "lane": "normal",
            "attempts": 1,
            "errors": "[]",
            "entry.call": f'{function.name} 00000012345678 {{"a": 1}}',
            "entry.id": f"{function.queue.name}-1",
        }
        plain.xadd(function.store.place.keys.dead, letter, id="5-5")
    reply = await client.delete("/dead/5-5")
    assert reply.status_code == 409
    assert reply.json()["error"] == "ambiguous_id"
    assert (await client.delete("/dead/5-5?queue=narrow")).status_code == 200
    assert (await client.delete("/dead/5-5")).json()["queue"] == "default"


@pytest.mark.usefixtures("worker")
async def test_metrics_can_be_scraped(client: httpx.AsyncClient) -> None:
    await make_dead(client)
    await client.post("/tasks/add?wait=10", json={"a": 1})

    seen: dict[tuple[str, ...], float] = {}

    async def scrape() -> bool:
        reply = await client.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain")
        for family in text_string_to_metric_families(reply.text):
            for sample in family.samples:
                labels = [v for k, v in sample.labels.items() if k != "worker"]
                seen[sample.name, *labels] = sample.value
        return ("castwork_tasks_processed_total", "succeeded") in seen

    await eventually(scrape)  # the worker tells its counts with its next sign of life
    assert seen["castwork_tasks_processed_total", "succeeded"] == 1
    assert seen["castwork_queue_dead", "default"] == 1
    assert seen["castwork_queue_waiting", "normal", "default"] == 0
    assert seen["castwork_queue_max_depth", "narrow"] == 2
    assert seen["castwork_queue_running", "default"] == 0
    assert seen["castwork_queue_scheduled", "default"] == 0
    assert seen["castwork_queue_held", "default"] == 0
    assert seen["castwork_workers",] == 1
    assert seen["castwork_gateway_listeners",] == 0


async def test_a_gateway_with_its_server_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"alive": True}
    reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()) == (200, {"ready": True})


async def test_without_its_server_a_gateway_lives_but_is_not_ready(gates: Gates) -> None:
    link = LinkSettings(call_timeout=0.3, backoff=Backoff(base=0.02, longest=0.1))
    with EmbeddedServer() as server:
        app = App(server.url, settings=AppSettings(link=link))
        declare(app, gates)
        async with serving(create_gateway(app)) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).status_code == 200
            await asyncio.to_thread(server.stop)
            await eventually(lambda: not app.connections.links()[0].is_connected)
            reply = await client.get("/readyz")
            assert reply.status_code == 503
            assert reply.json()["ready"] is False
            assert "no connection" in reply.json()["reason"]
            assert (await client.get("/healthz")).status_code == 200
            for refused, error in (
                (await client.post("/tasks/add", json={"a": 1}), "server_unavailable"),
                (await client.get("/tasks/default:1"), "server_unavailable"),
                (await client.get("/channels/news/events"), "server_unavailable"),
                (await client.get("/metrics"), "server_unavailable"),
                (await client.get("/queues"), "server_unavailable"),
                (await client.get("/workers"), "server_unavailable"),
                (await client.get("/dead"), "server_unavailable"),
            ):
                assert refused.status_code == 503, refused.url
                assert refused.json()["error"] == error
                assert refused.headers["Retry-After"] == "1"


async def test_the_openapi_page_and_schema_are_served(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    paths = (await client.get("/openapi.json")).json()["paths"]
    for path in (
        "/tasks/{task_name}",
        "/tasks/{task_id}/events",
        "/channels/{name}",
        "/channels/{name}/events",
        "/dead/{letter_id}/replay",
        "/metrics",
    ):
        assert path in paths


async def test_the_front_door_lists_routes_or_shows_a_page(
    client: httpx.AsyncClient, app: App, tmp_path: Path
) -> None:
    assert "/tasks/{task_name}" in (await client.get("/")).json()["routes"]
    page = tmp_path / "page.html"
    page.write_text("<h1>hello</h1>")
    gateway = create_gateway(app, page=page)
    async with serving(gateway) as url, httpx.AsyncClient(base_url=url) as other:
        reply = await other.get("/")
    assert reply.text == "<h1>hello</h1>"
    assert reply.headers["content-type"].startswith("text/html")


async def test_the_routes_mount_into_an_app_of_ones_own(app: App) -> None:
    own = FastAPI(lifespan=gateway_lifespan(app))
    own.include_router(gateway_router(app), prefix="/jobs")
    async with serving(own) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/jobs/tasks/add", json={"a": 1})).status_code == 202
        reply = await client.post("/jobs/tasks/add", json={"a": "x"})
        assert (reply.status_code, reply.json()["field"]) == (422, "a")
        too_large = await client.post("/jobs/tasks/add", json={"a": "x" * 1_000_001})
        assert too_large.status_code == 413


async def test_large_dead_letters_are_cut_and_come_page_by_page(
    client: httpx.AsyncClient, app: App, plain: redis.Redis
) -> None:
    key = app.tasks.get("add").store.place.keys.dead
    letter = {
        "id": "x",
        "lane": "normal",
        "attempts": 1,
        "errors": "[]",
        "entry.call": "é" * 500_000,
    }
    ids = [plain.xadd(key, letter).decode() for _ in range(8)]

    seen: list[str] = []
    while page := await client.get(f"/dead?queue=default&after={seen[-1] if seen else ''}"):
        if not page.json():
            break
        assert len(page.content) < 50_000
        seen += [one["id"] for one in page.json()]
    assert seen == ids[::-1]
    assert page.status_code == 200
    assert (await client.get("/dead?after=1-1")).json()["field"] == "after"
    assert (await client.get("/dead?queue=default&after=x")).json()["error"] == "bad_position"


async def test_a_long_number_is_no_id_of_a_dead_letter(client: httpx.AsyncClient) -> None:
    for name in ("12345678901234567890123456", "99999999999999999999-0"):
        reply = await client.delete(f"/dead/{name}")
        assert (reply.status_code, reply.json()["error"]) == (404, "task_not_found")
