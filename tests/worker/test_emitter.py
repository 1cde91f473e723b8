"""Writing chunks while the server refuses writes: nothing is lost, and the order stays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.eventually import eventually

from castwork.model.chunk import Chunk, encode_data
from castwork.model.errors import (
    CastworkError,
    InvalidArguments,
    OutOfMemory,
    PersistenceFailed,
    ServerError,
    ServerRefused,
)
from castwork.model.position import Position
from castwork.store.outputs import Written
from castwork.worker import emitter as module
from castwork.worker.emitter import Emitter


class Server:
    """Takes chunks as the stream of an output does; refuses them while `refusal` is set."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.refusal: ServerError | None = None
        self.refused = self.announced = 0

    def append(
        self, task_id: str, chunk: Chunk, *, begins: bool, announces: bool = True
    ) -> Written:
        self.announced += announces
        encode_data(chunk)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.refusal is not None:
            self.refused += 1
            reply.set_exception(self.refusal)
        elif not begins and not self.chunks:
            reply.set_result(None)
        elif self.chunks and Position.parse(self.chunks[-1]) >= chunk.position:
            reply.set_exception(ServerRefused("ERR The ID is equal or smaller than the top item"))
        else:
            self.chunks.append(chunk.id)
            reply.set_result(chunk.id)
        return Written(reply)

    async def newest(self, task_id: str) -> Position:
        return Position.parse(self.chunks[-1])

    async def holds(self, task_id: str, position: Position) -> bool:
        return str(position) in self.chunks


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    return Server()


@pytest.fixture
def emitter(server: Server) -> Emitter:
    outputs: Any = server
    return Emitter(outputs, "task", 1)


@pytest.mark.parametrize("refusal", [OutOfMemory("OOM"), PersistenceFailed("MISCONF")])
@pytest.mark.parametrize("before", [0, 3])
async def test_chunks_wait_for_a_server_that_takes_no_writes(
    server: Server, emitter: Emitter, refusal: ServerError, before: int
) -> None:
    for _ in range(before):
        await emitter.emit("chunk", "x")
    server.refusal = refusal

    async def write() -> None:
        for _ in range(4):
            await emitter.emit("chunk", "x")
        await emitter.flush()

    writing = asyncio.gather(write(), write())
    await eventually(lambda: server.refused > 10)
    server.refusal = None
    await asyncio.wait_for(writing, 10)

    assert server.chunks == [f"1-{n}" for n in range(1, before + 9)]
    assert server.announced == before + 8, "readers are told of each once"


async def test_an_attempt_that_has_ended_sends_nothing_again(
    server: Server, emitter: Emitter
) -> None:
    server.refusal = OutOfMemory("OOM")
    writing = asyncio.create_task(emitter.emit("chunk", "x"))
    await eventually(lambda: server.refused > 0)
    emitter.close()
    server.refusal = None

    with pytest.raises(CastworkError, match="has ended"):
        await writing
    assert server.chunks == []


async def test_a_chunk_without_a_json_form_leaves_no_hole(server: Server, emitter: Emitter) -> None:
    await emitter.emit("chunk", "x")
    for data in (object(), "\ud800"):
        with pytest.raises(InvalidArguments):
            await emitter.emit("chunk", data)
    await emitter.emit("chunk", "y")

    assert server.chunks == ["1-1", "1-2"]
