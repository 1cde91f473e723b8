"""The demo's HTTP routes, on a real server, two workers and the real model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.demo.backend import PATIENCE, Backend
from tests.demo.test_documents import make_pdf
from tests.eventually import wait_until
from websockets.sync.client import ClientConnection, connect

pytestmark = [
    pytest.mark.timeout(180),  # a real model, on a machine that may be busy
    pytest.mark.xdist_group("demo"),  # one backend
]

TEXT = (
    "The lighthouse stands on a rock in the sea. It was built in 1811 from grey granite. "
    "Its lamp turns all night, and ships see it from thirty miles away.\n\n"
)


@pytest.fixture
def socket(backend: Backend) -> Iterator[ClientConnection]:
    """A browser's WebSocket, subscribed to what happens to documents."""
    with connect(backend.url.replace("http", "ws", 1) + "/ws") as socket:
        for channel in ("documents", "billing", "monitor"):
            socket.send(json.dumps({"subscribe": channel}))
        # Events count from the subscription on: one that comes back shows that it is there.
        wait_until(lambda: echoes(backend, socket), "the socket heard nothing", within=PATIENCE)
        yield socket


def echoes(backend: Backend, socket: ClientConnection) -> bool:
    """Publishes to the last channel that was subscribed, and tells whether that is heard."""
    backend.http.post("/channels/monitor", json={"depth": {"echo": 1}}).raise_for_status()
    with suppress(TimeoutError):
        while True:
            news = json.loads(socket.recv(timeout=0.2))
            if news["type"] == "event" and news["channel"] == "monitor":
                return True
    return False


def heard(socket: ClientConnection, channel: str, **values: Any) -> list[dict[str, Any]]:
    """Reads events until one has these values; returns those read of documents and billing."""
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + 90
    while True:
        news = json.loads(socket.recv(timeout=max(0.0, deadline - time.monotonic())))
        if news["type"] == "event" and news["channel"] in ("documents", "billing"):
            events.append(news)
            if news["channel"] == channel and values.items() <= news["event"].items():
                return events


def billed(backend: Backend, document_id: str) -> list[dict[str, Any]]:
    charges = backend.http.get("/api/billing").json()["charges"]
    return [charge for charge in charges if charge["document_id"] == document_id]


def test_an_answer_streams_and_stays(backend: Backend) -> None:
    backend.sampling(max_tokens=40, temperature=0)
    task_id = backend.ask("What is the capital of France?", user_id="ada", priority="high")
    events = list(backend.events(task_id))
    pieces = [data for kind, _, data in events if kind == "chunk"]
    assert len(pieces) > 3
    assert "Paris" in "".join(pieces)
    status = backend.status(task_id)
    assert status["status"] == "succeeded"
    assert status["result"] == "".join(pieces)
    assert status["attempts"] == 1
    assert status["worker"] in {w["id"] for w in backend.http.get("/workers").json()}
    assert events[-1][0] == "result" and events[-1][2]["result"] == status["result"]


def test_a_stream_goes_on_behind_the_last_id(backend: Backend) -> None:
    backend.sampling(max_tokens=40, temperature=0)
    task_id = backend.ask("Write a long story about a dragon.")
    whole = [(key, data) for kind, key, data in backend.events(task_id) if kind == "chunk"]
    again = backend.events(task_id, after=whole[9][0])
    assert [(key, data) for kind, key, data in again if kind == "chunk"] == whole[10:]


def test_a_killed_worker_shows_as_reset_and_the_answer_is_whole(backend: Backend) -> None:
    backend.sampling(max_tokens=120, temperature=0.7)
    task_id = backend.ask("Tell me a long story about a lighthouse.")
    text, resets, killed = "", 0, False
    for kind, _, data in backend.events(task_id):
        if kind == "reset":
            text, resets = "", resets + 1
        elif kind == "chunk":
            text += data
        if text and not killed:
            killed = True
            backend.kill_worker_of(task_id)
    status = backend.status(task_id)
    assert (status["status"], status["attempts"], resets) == ("succeeded", 2, 1)
    assert text == status["result"]
    assert all(queue["depth"] == 0 for queue in backend.http.get("/queues").json())


def test_bad_prompts_are_refused_by_name(backend: Backend) -> None:
    for body, field in (
        ({"prompt": ""}, "prompt"),
        ({"model": "small"}, "prompt"),
        ({"prompt": "hi", "priority": "urgent"}, "priority"),
    ):
        reply = backend.http.post("/api/inference", json=body)
        assert reply.status_code == 422
        assert field in reply.text


def test_a_prompt_over_the_models_context_fails_at_once(backend: Backend) -> None:
    status = backend.outcome(backend.ask("many words " * 1700))
    assert (status["status"], status["attempts"]) == ("failed", 1)
    assert "tokens" in status["error"]["message"]


def test_a_setting_reaches_every_process(backend: Backend) -> None:
    backend.settle()
    backend.sampling(temperature=0.3)
    reply = backend.sampling(max_tokens=7)
    assert reply["settings"] == {"temperature": 0.3, "max_tokens": 7}
    assert len(reply["applied"]) == 3, "two workers and the gateway"
    assert (reply["failed"], reply["lagging"]) == ({}, [])
    assert backend.http.get("/api/settings").json() == reply["settings"]
    # Both workers have it: of four answers at once, each runs some.
    tasks = [backend.ask(f"Write a long story about {number} dragons.") for number in range(4)]
    for task_id in tasks:
        pieces = [1 for kind, _, _ in backend.events(task_id) if kind == "chunk"]
        assert 1 <= len(pieces) <= 7


@pytest.mark.parametrize(
    "body", [{"temperature": 3}, {"max_tokens": 0}, {"max_tokens": "many"}, {"top_k": 4}]
)
def test_a_setting_that_cannot_be_is_refused(backend: Backend, body: dict[str, Any]) -> None:
    before = backend.http.get("/api/settings").json()
    reply = backend.http.put("/api/settings", json=body)
    assert reply.status_code == 422
    assert next(iter(body)) in reply.text
    assert backend.http.get("/api/settings").json() == before


def test_a_new_version_reaches_every_process_in_mid_answer(backend: Backend) -> None:
    backend.settle()
    backend.sampling(max_tokens=80, temperature=0)
    task_id = backend.ask("Write a long story about a dragon.")
    events = backend.events(task_id)
    assert next(kind for kind, _, _ in events if kind == "chunk")
    reply = backend.http.put("/api/models/small", json={"version": 2}).json()
    assert (reply["model"], reply["version"]) == ("small", "2")
    assert len(reply["applied"]) == 3, "two workers and the gateway"
    assert (reply["failed"], reply["lagging"]) == ({}, [])
    assert backend.http.get("/api/models").json()["small"] == "2"
    assert list(events)[-1][2]["attempts"] == 1, "the answer under way ended on the old copy"
    assert backend.outcome(task_id)["status"] == "succeeded"
    assert backend.outcome(backend.ask("Hello"))["status"] == "succeeded"


def test_a_document_is_received_processed_and_billed_once(
    backend: Backend, socket: ClientConnection
) -> None:
    text = TEXT * 8
    words = len(text.split())
    reply = backend.upload("light.txt", text.encode())
    assert reply.status_code == 202, reply.text
    document_id, task_id = reply.json()["document_id"], reply.json()["task_id"]
    progress = [data["done"] for kind, _, data in backend.events(task_id) if kind == "progress"]
    assert len(progress) > 2 and progress == sorted(progress)
    result = backend.status(task_id)["result"]
    assert (result["pages"], result["chunks"], result["words"]) == (1, 2, words)
    assert len(result["summary"]) > 20
    events = heard(socket, "billing", document_id=document_id)
    ours = [e["event"] for e in events if e["event"]["document_id"] == document_id]
    assert [e.get("event", "charge") for e in ours] == [
        "document_received",
        "document_processed",
        "charge",
    ]
    assert (ours[1]["pages"], ours[1]["words"], ours[1]["task_id"]) == (1, words, task_id)
    charge = {"document_id": document_id, "filename": "light.txt", "cents": 2}
    assert wait_until(lambda: billed(backend, document_id), "not billed", within=PATIENCE) == [
        charge
    ]


def test_a_pdf_is_read_page_by_page(backend: Backend) -> None:
    reply = backend.upload("two.pdf", make_pdf("Whales are mammals.", "They live in the sea."))
    status = backend.outcome(reply.json()["task_id"])
    assert status["status"] == "succeeded"
    assert (status["result"]["pages"], status["result"]["words"]) == (2, 8)


def test_a_damaged_pdf_fails_once_tells_so_and_is_not_billed(
    backend: Backend, socket: ClientConnection
) -> None:
    reply = backend.upload("torn.pdf", b"%PDF-1.7 and then nothing")
    document_id = reply.json()["document_id"]
    status = backend.outcome(reply.json()["task_id"])
    assert (status["status"], status["attempts"]) == ("failed", 1)
    assert "torn.pdf" in status["error"]["message"]
    events = heard(socket, "documents", event="document_failed", document_id=document_id)
    assert "damaged" in events[-1]["event"]["error"]
    # Billing takes the events in order: when the next document is billed, this one was passed.
    after = backend.upload("fine.txt", b"A short and harmless text.").json()["document_id"]
    wait_until(lambda: billed(backend, after), "the next document was not billed", within=PATIENCE)
    assert billed(backend, document_id) == []


def test_files_that_are_empty_or_too_large_are_refused(backend: Backend) -> None:
    assert backend.upload("empty.txt", b"").status_code == 422
    assert backend.upload("large.txt", b"x" * 2_000_001).status_code == 413
    assert backend.upload("larger.txt", b"x" * 2_500_000).status_code == 413
    assert backend.http.post("/api/process-document").status_code == 422


def test_the_largest_file_reaches_a_worker(backend: Backend) -> None:
    text = (TEXT * 20_000).encode()[:2_000_000]
    reply = backend.upload("book.txt", text)
    assert reply.status_code == 202, reply.text
    for kind, _, data in backend.events(reply.json()["task_id"]):
        if kind == "progress" and "part 1 of 6" in data["message"]:
            break
    else:
        raise AssertionError("no worker read it")
    backend.http.delete(f"/tasks/{reply.json()['task_id']}")
    assert backend.outcome(reply.json()["task_id"])["status"] == "cancelled"


def test_a_document_that_is_announced_twice_is_billed_once(backend: Backend) -> None:
    event = {"event": "document_processed", "filename": "a.txt", "task_id": "-", "pages": 3}
    for document_id in ("twice", "twice", "last"):
        reply = backend.http.post("/channels/documents", json=event | {"document_id": document_id})
        assert reply.is_success, reply.text
    wait_until(
        lambda: billed(backend, "last") and billed(backend, "twice"), "not billed", within=PATIENCE
    )
    assert billed(backend, "twice") == [{"document_id": "twice", "filename": "a.txt", "cents": 6}]


def test_every_process_counts_and_one_reports_the_depth(
    backend: Backend, socket: ClientConnection
) -> None:
    before = backend.http.get("/api/analytics").json().get("document_received", 0)
    task_id = backend.upload("short.txt", b"Just a few words.").json()["task_id"]
    news: dict[str, Any] = {}
    while news.get("channel") != "monitor" or "documents" not in news["event"]["depth"]:
        news = json.loads(socket.recv(timeout=60))
    assert news["event"]["depth"].keys() == {"inference", "documents"}
    backend.outcome(task_id)
    counted = backend.http.get("/api/analytics").json()["document_received"]
    assert counted == before + 1


def test_the_ledger_outlives_the_gateway(backend: Backend) -> None:
    reply = backend.upload("kept.txt", b"A text that is billed before the gateway ends.")
    document_id = reply.json()["document_id"]
    wait_until(lambda: billed(backend, document_id), "not billed", within=PATIENCE)
    before = backend.http.get("/api/billing").json()
    backend.gateway.kill()
    backend.gateway.wait()
    backend.start_gateway()
    wait_until(lambda: billed(backend, document_id), "the charge is lost", within=PATIENCE)
    assert backend.http.get("/api/billing").json() == before
