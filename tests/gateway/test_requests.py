"""Bodies within bounds, errors by the table, other sites kept out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, UploadFile
from tests.gateway.conftest import serving

from castwork import App
from castwork.gateway import create_gateway, errors
from castwork.model import errors as model_errors
from castwork.model.errors import (
    AuthenticationFailed,
    CastworkError,
    EffectUnknown,
    InvalidArguments,
    NotOpen,
    QueueFull,
    ServerRefused,
    ServerUnavailable,
)


@pytest.fixture
async def small(app: App) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """A gateway that takes 1,000 bytes, with a route for uploads."""
    gateway = create_gateway(app, max_body=1000)

    @gateway.post("/upload")
    async def upload(file: UploadFile) -> dict[str, int]:
        return {"size": len(await file.read())}

    @gateway.post("/careless")
    async def careless() -> dict[str, str]:
        raise InvalidArguments("no", field="prompt")

    async with serving(gateway) as url, httpx.AsyncClient(base_url=url) as client:
        yield gateway, client


FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


async def stream(size: int, head: bytes = b"") -> AsyncIterator[bytes]:
    yield head
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize("path", ["/tasks/add", "/channels/news", "/upload", "/nowhere"])
async def test_a_body_declared_over_the_limit_is_413(
    small: tuple[FastAPI, httpx.AsyncClient], path: str
) -> None:
    _, client = small
    reply = await client.post(path, content=b"x" * 2_000_000)
    assert (reply.status_code, reply.json()["error"]) == (413, "payload_too_large")
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/tasks/add", "/channels/news", "/upload"])
async def test_a_body_streamed_over_the_limit_is_413(
    small: tuple[FastAPI, httpx.AsyncClient], path: str
) -> None:
    _, client = small
    kind = "multipart/form-data; boundary=b" if path == "/upload" else "application/json"
    body = stream(200_000, FORM if path == "/upload" else b"")
    reply = await client.post(path, content=body, headers={"Content-Type": kind})
    assert (reply.status_code, reply.json()["error"]) == (413, "payload_too_large")
    assert (await client.get("/healthz")).status_code == 200


async def test_bodies_within_the_limit_pass(small: tuple[FastAPI, httpx.AsyncClient]) -> None:
    _, client = small
    reply = await client.post("/upload", files={"file": b"y" * 500})
    assert reply.json() == {"size": 500}
    assert (await client.post("/tasks/add", json={"a": 1})).status_code == 202
    headers = {"Content-Type": "application/json"}
    fitting = await client.post("/tasks/add", content=stream(900), headers=headers)
    assert fitting.status_code == 422  # read to its end, and found not to be JSON


async def test_a_multipart_upload_over_the_limit_is_413(
    small: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    _, client = small
    reply = await client.post("/upload", files={"file": b"y" * 5000})
    assert (reply.status_code, reply.json()["error"]) == (413, "payload_too_large")


async def test_errors_of_the_users_own_routes_go_by_the_table(
    small: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    _, client = small
    reply = await client.post("/careless")
    assert reply.status_code == 422
    assert reply.json() == {"error": "invalid_arguments", "message": "no", "field": "prompt"}


async def test_a_body_that_is_not_json_by_its_type_is_415(client: httpx.AsyncClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind}
        reply = await client.post("/tasks/add", content=b'{"a": 1}', headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (415, "not_json")


async def test_a_page_of_another_site_can_do_nothing_unasked(
    client: httpx.AsyncClient, url: str
) -> None:
    evil = {"Origin": "https://evil.example"}
    for path in ("/tasks/refuse", "/channels/news", "/dead/1-1/replay"):
        reply = await client.post(path, headers=evil)
        assert (reply.status_code, reply.json()["error"]) == (403, "foreign_origin")
    assert (await client.post("/tasks/refuse", headers={"Origin": url})).status_code == 202
    asked = {**evil, "Access-Control-Request-Method": "DELETE"}
    assert (
        "access-control-allow-origin"
        not in (await client.options("/dead/1", headers=asked)).headers
    )


async def test_pages_of_named_sites_are_let_in(app: App) -> None:
    good = {"Origin": "https://good.example"}
    gateway = create_gateway(app, origins=["https://good.example"])
    async with serving(gateway) as url, httpx.AsyncClient(base_url=url) as client:
        reply = await client.post("/tasks/refuse", headers=good)
        assert reply.status_code == 202
        assert reply.headers["access-control-allow-origin"] == "https://good.example"


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in vars(model_errors).values()
        if isinstance(kind, type) and issubclass(kind, CastworkError)
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_error_has_a_status(kind: type[CastworkError]) -> None:
    error = kind.__new__(kind)
    status, name = errors.find_status(error)
    assert 400 <= status < 600
    assert name.replace("_", "").isalpha()


def test_an_unknown_effect_is_said_to_be_unknown() -> None:
    response = errors.error_response(EffectUnknown("the reply was lost"))
    assert response.status_code == 503
    assert b"effect_unknown" in response.body
    assert b"whether this took effect is unknown" in response.body
    assert response.headers["retry-after"] == "1"


def test_a_full_queue_says_when_to_try_again() -> None:
    response = errors.error_response(QueueFull("q", 10, retry_after=2.5))
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


@pytest.mark.parametrize("kind", [ServerUnavailable, AuthenticationFailed, ServerRefused, NotOpen])
def test_errors_of_the_server_tell_clients_no_address(
    kind: type[CastworkError], caplog: pytest.LogCaptureFixture
) -> None:
    body = errors.error_body(kind("no Redis at 10.1.2.3:6379 with {cw:q}:dead"))
    assert "10.1.2.3" not in body["message"]
    assert "{" not in body["message"]
    found = re.search(r"error ([0-9a-f]{8})", body["message"])
    assert found is not None
    assert f"error {found[1]}: {kind.__name__}: no Redis at 10.1.2.3:6379" in caplog.text
