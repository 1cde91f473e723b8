"""What Sentry is sent of attempts that fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from castwork import App, Backoff, Discard, current
from castwork.contrib.sentry import instrument


class InMemory(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.payload.json is not None:
                self.sent.append({"kind": item.type, **item.payload.json})


@pytest.fixture
def transport() -> Iterator[InMemory]:
    transport = InMemory()
    sentry_sdk.init(
        "http://key@127.0.0.1:1/1",
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


async def test_errors_are_sent_with_their_task_and_in_one_trace(
    app: App, transport: InMemory
) -> None:
    instrument(app)

    @app.task(queue="q", attempts=2, backoff=Backoff(base=0.001))
    async def flaky(secret: str) -> int:
        if current().attempt == 1:
            raise ValueError("once")
        return 1

    @app.task(queue="q")
    async def discard() -> None:
        raise Discard("on purpose")

    async with app, app.worker(scheduler_interval=0.02):
        with sentry_sdk.start_transaction(name="request") as request:
            task = await flaky.options(owner="ada").enqueue("s3cret")
        assert await task.result(timeout=10) == 1
        await (await discard.enqueue()).wait(timeout=10)
    sentry_sdk.flush()
    events = [one for one in transport.sent if "exception" in one]
    [event] = events
    assert event["exception"]["values"][-1]["value"] == "once"
    assert event["user"] == {"id": "ada"}
    assert {name: value for name, value in event["tags"].items() if "castwork" in name} == {
        "castwork.task": task.id,
        "castwork.attempt": "1",
        "castwork.function": "flaky",
        "castwork.queue": "q",
    }
    assert "s3cret" not in str(event.get("extra", "")) + str(event["contexts"]) + str(event["tags"])
    runs = [one for one in transport.sent if one.get("transaction") == "flaky"]
    runs = [one for one in runs if one["kind"] == "transaction"]
    assert len(runs) == 2
    assert {one["contexts"]["trace"]["trace_id"] for one in runs} == {request.trace_id}
