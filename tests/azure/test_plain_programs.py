"""Plain redis-py programs beside an app: Entra logins, plain channels, a server that evicts keys.

These are the conditions of a first Azure Managed Redis as courses set it up, without its TLS.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.credentials import CredentialProvider
from tests.eventually import eventually, wait_until
from tests.servers import listening_server

from castwork import App, AppSettings, Credentials

CHANNELS = ["orders:created", "orders:shipped", "inventory:alerts", "notifications"]
_USER, _TOKEN = "0f8fad5b-d9cb-469f-a165-70867728950e", "header.payload.signature"

ORDER = {"event": "order_created", "order_id": "ORD-1", "customer": "Zoë", "total": 129.99}
ANNOUNCEMENT = {"event": "system_announcement", "message": "closed at 2 AM", "priority": "high"}


class Source:
    """A login that is renewed about three times a second."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Credentials:
        self.calls += 1
        return Credentials(_USER, _TOKEN, time.time() + 0.5)


class PlainLogin(CredentialProvider):
    """The same login as redis-py takes it."""

    def get_credentials(self) -> tuple[str, str]:
        return _USER, _TOKEN


@pytest.fixture
def url() -> Iterator[str]:
    """A server that evicts keys, and lets in who has the token."""
    with listening_server() as url, redis.Redis.from_url(url) as root:
        root.config_set("maxmemory", "100mb")
        root.config_set("maxmemory-policy", "allkeys-lru")
        rights = ("on", f">{_TOKEN}", "~*", "&*", "+@all", "-@dangerous", "+info")
        root.execute_command("ACL", "SETUSER", _USER, *rights)
        root.execute_command("ACL", "SETUSER", "default", "off")
        yield url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """A plain program's client."""
    host, port = url.removeprefix("redis://").split(":")
    login = PlainLogin()
    with redis.Redis(
        host=host, port=int(port), decode_responses=True, credential_provider=login
    ) as made:
        yield made


def make_app(url: str, namespace: str, source: Source) -> App:
    return App(url, credentials=source, settings=AppSettings(namespace=namespace))


async def test_an_app_hears_what_plain_programs_publish(
    url: str, namespace: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source()
    app = make_app(url, namespace, source)
    heard: list[tuple[str, Any]] = []

    def follow(name: str) -> None:
        @app.channel(name, dict[str, Any]).subscribe
        async def hear(event: dict[str, Any]) -> None:
            heard.append((name, event))

    for name in CHANNELS:
        follow(name)
    async with app:
        assert client.publish("orders:created", "not JSON") == 1  # said and skipped
        assert client.publish("orders:created", json.dumps(ORDER)) == 1
        for name in CHANNELS:
            assert client.publish(name, json.dumps(ANNOUNCEMENT)) == 1
        await eventually(lambda: len(heard) == 5)
        asked = source.calls
        await eventually(lambda: source.calls > asked)
        client.publish("notifications", json.dumps({"n": 6}))
        await eventually(lambda: len(heard) == 6)

    assert heard.pop() == ("notifications", {"n": 6})
    heard.remove(("orders:created", ORDER))
    assert sorted(heard) == sorted((name, ANNOUNCEMENT) for name in CHANNELS)
    assert "allkeys-lru: channels without history are safe" in caplog.text


async def test_plain_programs_hear_what_an_app_publishes(
    url: str, namespace: str, client: redis.Redis
) -> None:
    app = make_app(url, namespace, Source())
    orders = app.channel("orders:created", dict[str, Any])
    with client.pubsub(ignore_subscribe_messages=True) as by_name, client.pubsub() as by_pattern:
        by_name.subscribe("orders:created")
        by_pattern.psubscribe("orders:*")
        wait_until(lambda: client.pubsub_numpat() == 1)

        async with app:
            assert (await orders.publish(ORDER)).subscribers == 2

        for listener, kind in ((by_name, "message"), (by_pattern, "pmessage")):
            message = wait_until(lambda one=listener, kind=kind: next_of(one, kind))
            assert message["channel"] == "orders:created"
            assert json.loads(message["data"]) == ORDER


def next_of(listener: redis.client.PubSub, kind: str) -> dict[str, Any] | None:
    """The next message if it is of that kind."""
    message = listener.get_message(timeout=0.1)
    return message if message and message["type"] == kind else None
