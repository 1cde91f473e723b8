"""The routes of tasks."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import redis
from tests.eventually import eventually
from tests.gateway.conftest import Gates

from castwork import App


async def enqueue(client: httpx.AsyncClient, task: str, **arguments: object) -> str:
    reply = await client.post(f"/tasks/{task}", json=arguments)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["task_id"])


async def test_a_call_is_accepted_with_its_task_id(client: httpx.AsyncClient) -> None:
    reply = await client.post("/tasks/add", json={"a": 1})
    assert reply.status_code == 202
    body = reply.json()
    assert body == {"task_id": body["task_id"], "status": "queued", "queue": "default"}
    shown = (await client.get(f"/tasks/{body['task_id']}")).json()
    assert shown["status"] == "queued"
    assert shown["task"] == "add"


@pytest.mark.usefixtures("worker")
async def test_wait_answers_the_outcome(client: httpx.AsyncClient) -> None:
    reply = await client.post("/tasks/add?wait=10", json={"a": 1, "b": 41})
    assert reply.status_code == 200
    body = reply.json()
    assert (body["status"], body["result"], body["attempts"]) == ("succeeded", 42, 1)
    assert body["worker"]


@pytest.mark.usefixtures("worker")
async def test_wait_answers_a_failure_too_but_no_traceback(client: httpx.AsyncClient) -> None:
    body = (await client.post("/tasks/fail?wait=10")).json()
    assert body["status"] == "dead"
    assert (body["error"]["type"], body["error"]["message"]) == ("OSError", "never works")
    assert "traceback" not in body["error"]
    assert (await client.post("/tasks/refuse?wait=10")).json()["status"] == "failed"


async def test_wait_gives_up_with_202(client: httpx.AsyncClient) -> None:
    reply = await client.post("/tasks/add?wait=0.05", json={"a": 1})
    assert reply.status_code == 202
    assert reply.json()["status"] == "queued"


async def test_get_polls_long(client: httpx.AsyncClient, worker: None, gates: Gates) -> None:
    task_id = await enqueue(client, "wait")
    early = await client.get(f"/tasks/{task_id}?wait=0.05")
    assert early.status_code == 200
    assert early.json()["status"] in ("queued", "running")
    waiting = asyncio.create_task(client.get(f"/tasks/{task_id}?wait=10"))
    await asyncio.sleep(0)
    gates.open.set()
    assert (await waiting).json()["result"] == "done"


async def test_an_unknown_task_function_is_404_with_close_names(
    client: httpx.AsyncClient,
) -> None:
    reply = await client.post("/tasks/spel", json={})
    assert reply.status_code == 404
    body = reply.json()
    assert (body["error"], body["close"]) == ("unknown_task", ["spell"])
    assert "did you mean 'spell'" in body["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"a": "one"}, "a"),
        ({"b": 2}, "a"),
        ({"a": 1, "c": 3}, "c"),
        ([1], ""),
    ],
)
async def test_arguments_that_do_not_fit_are_422_naming_the_field(
    client: httpx.AsyncClient, body: object, field: str
) -> None:
    reply = await client.post("/tasks/add", json=body)
    assert reply.status_code == 422
    assert reply.json()["error"] == "invalid_arguments"
    assert reply.json()["field"] == field
    queues = {queue["name"]: queue for queue in (await client.get("/queues")).json()}
    assert queues["default"]["depth"] == 0


@pytest.mark.parametrize("body", [b"{", b'{"a": "\xff"}', b"[" * 100_000, b"null", b"1"])
async def test_a_body_that_is_no_arguments_is_422(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/tasks/add", content=body, headers=headers)
    assert reply.status_code == 422, reply.text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wait=61", "wait"),
        ("wait=nan", "wait"),
        ("wait=-1", "wait"),
        ("priority=urgent", "priority"),
        ("delay=inf", "delay"),
    ],
)
async def test_a_bad_option_is_422_naming_it(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    reply = await client.post(f"/tasks/add?{query}", json={"a": 1})
    assert reply.status_code == 422
    assert (reply.json()["error"], reply.json()["field"]) == ("invalid_arguments", field)


async def test_priority_and_delay_choose_where_it_waits(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.post("/tasks/add?priority=high", json={"a": 1})).status_code == 202
    reply = await client.post("/tasks/add?delay=60", json={"a": 1})
    assert reply.json()["status"] == "scheduled"
    queues = {queue["name"]: queue for queue in (await client.get("/queues")).json()}
    assert queues["default"]["waiting"] == {"high": 1, "normal": 0, "low": 0}
    assert queues["default"]["scheduled"] == 1


async def test_the_same_idempotency_key_answers_the_same_task(
    client: httpx.AsyncClient, worker: None
) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await client.post("/tasks/add?wait=10", json={"a": 1}, headers=headers)
    again = await client.post("/tasks/add", json={"a": 1}, headers=headers)
    assert again.status_code == 202
    assert again.json()["task_id"] == first.json()["task_id"]
    assert again.json()["status"] == "succeeded"
    waited = await client.post("/tasks/add?wait=10", json={"a": 1}, headers=headers)
    assert waited.json() == first.json()
    other = await client.post("/tasks/add", json={"a": 1}, headers={"Idempotency-Key": "8"})
    assert other.json()["task_id"] != first.json()["task_id"]


async def test_a_key_outlives_the_record_of_its_task(
    client: httpx.AsyncClient, worker: None, plain: redis.Redis, app: App
) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await client.post("/tasks/add?wait=10", json={"a": 1}, headers=headers)
    task_id = first.json()["task_id"]
    assert plain.delete(app.tasks.get("add").store.place.keys.record(task_id)) == 1
    again = await client.post("/tasks/add", json={"a": 1}, headers=headers)
    assert again.status_code == 202
    assert again.json() == {"task_id": task_id, "status": None, "queue": "default"}


async def test_a_full_queue_is_429_with_retry_after(client: httpx.AsyncClient) -> None:
    await enqueue(client, "idle")
    await enqueue(client, "idle")
    reply = await client.post("/tasks/idle")
    assert reply.status_code == 429
    assert reply.json()["error"] == "queue_full"
    assert int(reply.headers["Retry-After"]) >= 1


async def test_an_unknown_task_id_is_404(client: httpx.AsyncClient) -> None:
    for task_id in ("default-01J00000000000000000000000", "nowhere-01J", "x", "1-1"):
        for reply in (
            await client.get(f"/tasks/{task_id}"),
            await client.get(f"/tasks/{task_id}/events"),
            await client.delete(f"/tasks/{task_id}"),
        ):
            assert reply.status_code == 404, task_id
            assert reply.json()["error"] == "task_not_found"


async def test_a_waiting_task_is_cancelled(client: httpx.AsyncClient) -> None:
    task_id = await enqueue(client, "add", a=1)
    reply = await client.delete(f"/tasks/{task_id}")
    assert reply.json() == {"task_id": task_id, "cancelled": True, "status": "cancelled"}
    again = await client.delete(f"/tasks/{task_id}")
    assert again.json()["cancelled"] is True


@pytest.mark.usefixtures("worker")
async def test_a_running_task_is_cancelled_and_an_ended_one_stays(
    client: httpx.AsyncClient,
) -> None:
    task_id = await enqueue(client, "wait")

    async def runs() -> bool:
        return bool((await client.get(f"/tasks/{task_id}")).json()["status"] == "running")

    await eventually(runs)
    reply = await client.delete(f"/tasks/{task_id}")
    assert reply.json() == {"task_id": task_id, "cancelled": True, "status": "cancelled"}
    ended = (await client.post("/tasks/add?wait=10", json={"a": 1})).json()["task_id"]
    reply = await client.delete(f"/tasks/{ended}")
    assert reply.json() == {"task_id": ended, "cancelled": False, "status": "succeeded"}


async def test_the_task_functions_are_listed_with_their_schema(
    client: httpx.AsyncClient, app: App
) -> None:
    @app.channels["news"].subscribe(group="billing")
    async def bill(event: dict[str, int]) -> None:
        pass

    assert (await client.get("/dead")).json() == []  # which declares the group's runner
    functions = {one["task"]: one for one in (await client.get("/tasks")).json()}
    assert sorted(functions) == ["add", "fail", "idle", "refuse", "spell", "stumble", "wait"]
    assert functions["add"]["description"] == "Adds two numbers."
    assert functions["idle"]["queue"] == "narrow"
    schema = functions["add"]["arguments"]
    arguments = schema["$defs"]["add_args"] if "$defs" in schema else schema
    assert arguments["properties"]["a"] == {"type": "integer"}
    assert arguments["required"] == ["a"]
    # A group's handler is no task function that anybody may call.
    assert (await client.post("/tasks/news:billing", json={"event": "{}"})).status_code == 404


async def test_entries_of_two_adopted_streams_are_found_by_their_ids(
    app: App, client: httpx.AsyncClient, plain: redis.Redis, namespace: str
) -> None:
    @app.task(stream=f"{namespace}:first", group="g")
    async def first(n: int) -> int:
        return n

    @app.task(stream=f"{namespace}:second", group="g")
    async def second(n: int) -> int:
        return -n

    plain.xadd(f"{namespace}:first", {"n": 1}, id="1-1")
    plain.xadd(f"{namespace}:second", {"n": 2}, id="2-1")
    one, two = f"{namespace}:first:g:1-1", f"{namespace}:second:g:2-1"
    assert (await client.get(f"/tasks/{two}")).json()["status"] == "queued"
    for other in (f"{namespace}:first:g:2-1", f"{namespace}:second:other:2-1"):
        assert (await client.get(f"/tasks/{other}")).status_code == 404
    async with app.worker():
        await eventually(lambda: plain.xlen(f"{namespace}:second") == 0)
        await eventually(lambda: plain.xlen(f"{namespace}:first") == 0)
        assert (await client.get(f"/tasks/{one}?wait=5")).json()["result"] == 1
        assert (await client.get(f"/tasks/{two}?wait=5")).json()["result"] == -2
