"""Outputs, on a real server: chunks that are fenced by their ids."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import redis
from pydantic import BaseModel

from castwork.embedded import EmbeddedServer
from castwork.model.chunk import Chunk
from castwork.model.errors import InvalidArguments, OutOfMemory, UndecodableEntry
from castwork.model.position import START, Position
from castwork.model.queue import Queue
from castwork.model.settings import LinkSettings
from castwork.redis.connections import Connections
from castwork.redis.inbox import Inbox
from castwork.store.outputs import Outputs, StaleChunk
from castwork.store.place import QueuePlace
from castwork.store.tail import Item, StreamEntry


@pytest.fixture
async def connections(server_url: str) -> AsyncIterator[Connections]:
    made = Connections(lambda: server_url, LinkSettings())
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def outputs(connections: Connections, namespace: str) -> Outputs:
    return Outputs(QueuePlace(connections, namespace, Queue("work")))


async def test_a_chunk_is_kept_and_announced(
    outputs: Outputs, plain: redis.Redis, namespace: str
) -> None:
    key = f"{{{namespace}:work}}:out:task"
    inbox = Inbox()
    await outputs.place.listen(key, inbox)

    await outputs.append("task", Chunk("1-1", "chunk", "hello"))

    await asyncio.wait_for(inbox.wait(), 5)
    assert [json.loads(message) for message in inbox.take()] == [
        {"id": "1-1", "kind": "chunk", "data": "hello"}
    ]
    assert plain.xrange(key) == [(b"1-1", {b"chunk": b'"hello"'})]


class Point(msgspec.Struct):
    x: int


class Model(BaseModel):
    """A model of the user's."""

    mode: str = "json"


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (None, None),
        ("", ""),
        ([1, {"a": "b"}], [1, {"a": "b"}]),
        (Point(3), {"x": 3}),
        (Model(), {"mode": "json"}),
    ],
)
async def test_a_chunk_reads_the_same_live_and_from_the_stream(
    outputs: Outputs, data: Any, read: Any
) -> None:
    source = outputs.source("task")
    inbox = Inbox()
    await outputs.place.listen(source.channel, inbox)

    await outputs.append("task", Chunk("2-7", "progress", data))

    await asyncio.wait_for(inbox.wait(), 5)
    [message] = inbox.take()
    [entry] = await outputs.page("task", START, 10)
    expected = Item(Position(2, 7), Position(2, 6), Chunk("2-7", "progress", read))
    assert source.parse(message) == source.read(entry) == expected


async def test_data_without_a_json_form_sends_nothing(outputs: Outputs) -> None:
    for data in (object(), "\ud800"):
        with pytest.raises(InvalidArguments, match="no JSON form"):
            outputs.append("task", Chunk("1-1", "chunk", data))

    assert await outputs.newest("task") is None


async def test_chunks_arrive_in_the_order_of_calls(outputs: Outputs) -> None:
    written = [outputs.append("task", Chunk(f"1-{n}", "chunk", n)) for n in range(1, 101)]
    await written[-1]

    assert all(one.done() for one in written)
    page = await outputs.page("task", Position(1, 40), 1000)
    assert [entry.position for entry in page] == [Position(1, n) for n in range(41, 101)]
    assert await outputs.newest("task") == Position(1, 100)


async def test_a_chunk_that_is_sent_again_is_stale_and_not_doubled(
    outputs: Outputs, plain: redis.Redis
) -> None:
    await outputs.append("task", Chunk("1-1", "chunk", "a"))

    with pytest.raises(StaleChunk):
        await outputs.append("task", Chunk("1-1", "chunk", "a"))

    assert plain.xlen(outputs.place.keys.output("task")) == 1


async def test_a_chunk_of_an_earlier_attempt_is_stale_behind_the_next_one(
    outputs: Outputs,
) -> None:
    await outputs.append("task", Chunk("1-1", "chunk", "a"))
    await outputs.append("task", Chunk("2-0", "reset"))

    with pytest.raises(StaleChunk):
        await outputs.append("task", Chunk("1-2", "chunk", "b"))

    newest = await outputs.newest("task")
    assert newest is not None
    assert newest.major == 2


async def test_an_output_keeps_about_its_bound(
    connections: Connections, namespace: str, plain: redis.Redis
) -> None:
    outputs = Outputs(QueuePlace(connections, namespace, Queue("work")), 100)
    written = [outputs.append("task", Chunk(f"1-{n}", "chunk", n)) for n in range(1, 1001)]
    await written[-1]

    assert 100 <= plain.xlen(outputs.place.keys.output("task")) <= 200


async def test_a_server_without_memory_is_told(namespace: str) -> None:
    with EmbeddedServer() as server:
        connections = Connections(lambda: server.url, LinkSettings())
        await connections.open()
        outputs = Outputs(QueuePlace(connections, namespace, Queue("work")))
        try:
            await outputs.append("task", Chunk("1-1", "chunk", "a"))
            with redis.Redis.from_url(server.url) as plain:
                plain.config_set("maxmemory", "1")
            with pytest.raises(OutOfMemory):
                await outputs.append("task", Chunk("1-2", "chunk", "b"))
        finally:
            await connections.close()


@pytest.mark.one_server("a cluster has one database only")
async def test_the_channel_of_another_database_has_its_number(
    server_url: str, namespace: str
) -> None:
    connections = Connections(lambda: f"{server_url}?db=3", LinkSettings())
    await connections.open()
    place = QueuePlace(connections, namespace, Queue("work"))
    assert Outputs(place).source("task").channel == f"{place.keys.output('task')}@3"
    await connections.close()


@pytest.mark.parametrize(
    ("chunk_id", "kind", "previous"),
    [
        ("1-1", "chunk", None),
        ("3-0", "reset", None),
        ("3-1", "chunk", Position(3, 0)),
        ("1-8", "progress", Position(1, 7)),
    ],
)
def test_a_chunk_follows_on_the_one_before_it(
    outputs: Outputs, chunk_id: str, kind: str, previous: Position | None
) -> None:
    entry = StreamEntry(Position.parse(chunk_id), [kind.encode(), b"1"])

    assert outputs.source("task").read(entry).previous == previous


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"id": "x", "kind": "chunk"}', b'{"id": "1-1"}', b"\xff"]
)
def test_a_message_of_another_form_is_undecodable(outputs: Outputs, payload: bytes) -> None:
    with pytest.raises(UndecodableEntry):
        outputs.source("task").parse(payload)


@pytest.mark.parametrize(
    "fields", [[], [b"chunk", b"{"], [b"a", b"1", b"b", b"2"], [b"\xff\xfe", b"1"]]
)
def test_an_entry_of_another_form_is_undecodable(outputs: Outputs, fields: list[bytes]) -> None:
    with pytest.raises(UndecodableEntry):
        outputs.source("task").read(StreamEntry(Position(1, 1), fields))
