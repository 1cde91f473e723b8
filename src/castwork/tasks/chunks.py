"""Reading a task's output: every chunk once and in order, across reloads and crashes.

A chunk's id is `attempt-number`. It is also its id in the stream, so that a worker which
lost its lease cannot write any more: its ids are below those of the next attempt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from castwork.model.errors import TaskNotFound, UndecodableEntry
from castwork.model.record import Record, decode_record
from castwork.redis.connections import Connections
from castwork.redis.keys import QueueKeys
from castwork.tasks.records import read_record

#: Chunks read per call while catching up, and held for a slow reader before it re-reads.
_PAGE = 500


class Chunk(msgspec.Struct, frozen=True):
    """One streamed piece of a task's output.

    Attributes:
        id: `attempt-number`; pass the last one as `after` to go on behind it.
        kind: `chunk`, `progress`, or `reset`: a new attempt began, what came before is void.
        data: the piece; for progress `{"done": 0.5, "message": "..."}`.
    """

    id: str
    kind: str
    data: Any = None

    @property
    def position(self) -> tuple[int, int]:
        """The id as (attempt, number)."""
        attempt, _, number = self.id.partition("-")
        return int(attempt), int(number)


_decode_chunk = msgspec.json.Decoder(Chunk).decode
encode_chunk = msgspec.json.Encoder().encode


def parse_position(after: str | None) -> tuple[int, int]:
    """Read a chunk id.

    Raises:
        UndecodableEntry: it is not `attempt-number`.
    """
    if not after:
        return (0, 0)
    attempt, _, number = after.partition("-")
    if not (attempt.isdecimal() and number.isdecimal()):
        raise UndecodableEntry(f"not a chunk id: {after!r}; it looks like 1-42")
    return int(attempt), int(number)


class _Output:
    """Listens to a task's output and record; the reader takes from it."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.chunks: deque[Chunk] = deque()
        self.missing = False

    def on_message(self, payload: bytes) -> None:
        if len(self.chunks) >= _PAGE:
            self.chunks.clear()  # the reader is slow: the stream keeps them for it
            self.missing = True
        self.chunks.append(_decode_chunk(payload))
        self.news.set()

    def on_resumed(self) -> None:
        self.missing = True
        self.news.set()


class _State:
    """Listens to a task's record."""

    def __init__(self, news: asyncio.Event) -> None:
        self._news = news
        self.records: deque[Record] = deque()
        self.stale = False

    def on_message(self, payload: bytes) -> None:
        self.records.append(decode_record(payload))
        self._news.set()

    def on_resumed(self) -> None:
        self.stale = True
        self._news.set()


class OutputReader:
    """Follows one task: its chunks and its changes of state, until it ends.

    Args:
        keys: keys of its queue.
        task_id: the task.
        after: chunk id to go on behind, None for the beginning.
        must_exist: whether a missing record is an error; a task of an adopted stream has none
            before it starts.
    """

    def __init__(
        self,
        connections: Connections,
        keys: QueueKeys,
        task_id: str,
        after: str | None,
        *,
        must_exist: bool,
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._task_id = task_id
        self._record_key = keys.record(task_id)
        self._output_key = keys.output(task_id)
        self._must_exist = must_exist
        self._last = parse_position(after)
        self._output = _Output()
        self._state = _State(self._output.news)

    async def follow(self) -> AsyncGenerator[Chunk | Record, None]:
        """Yield records as the task changes state, and chunks; ends with the final record.

        Raises:
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        if not self._connections.is_open:
            await self._connections.open()
        pushes = self._connections.pushes
        try:
            await asyncio.gather(
                pushes.add(self._output_key, self._output),
                pushes.add(self._record_key, self._state),
            )
            record = await self._read_record()
            if record is None and self._must_exist:
                raise TaskNotFound("there is no such task: it never was, or its record expired")
            while record is None or not record.state.is_final:
                if record is not None:
                    yield record
                async for chunk in self._catch_up():
                    yield chunk
                record = None
                while record is None:
                    async for chunk in self._next_chunks():
                        yield chunk
                    record = await self._next_record()
            async for chunk in self._catch_up():
                yield chunk
            yield record
        finally:
            pushes.remove(self._output_key, self._output)
            pushes.remove(self._record_key, self._state)

    async def _next_chunks(self) -> AsyncIterator[Chunk]:
        """Wait for news and yield the chunks among them."""
        output = self._output
        if not self._state.records:
            await output.news.wait()
        output.news.clear()
        if output.missing:
            output.missing = False
            async for chunk in self._catch_up():
                yield chunk
        while output.chunks:
            chunk = output.chunks.popleft()
            position = chunk.position
            if position <= self._last:
                continue
            follows = position == (self._last[0], self._last[1] + 1)
            if not follows and chunk.kind != "reset" and position != (1, 1):
                async for missed in self._catch_up():
                    yield missed
                continue
            self._last = position
            yield chunk

    async def _next_record(self) -> Record | None:
        """The task's next state, None if it has not changed."""
        if self._state.stale:
            self._state.stale = False
            self._state.records.clear()
            return await self._read_record()
        return self._state.records.popleft() if self._state.records else None

    async def _read_record(self) -> Record | None:
        return await read_record(self._connections, self._keys, self._task_id)

    async def _catch_up(self) -> AsyncIterator[Chunk]:
        """Yield what the stream holds behind the last chunk."""
        while True:
            start = f"({self._last[0]}-{self._last[1]}"
            page = await self._connections.commands.call(
                "XRANGE", self._output_key, start, "+", "COUNT", _PAGE
            )
            for entry_id, fields in page:
                chunk = Chunk(
                    entry_id.decode(),
                    fields[0].decode(),
                    msgspec.json.decode(fields[1]) if fields[1] else None,
                )
                self._last = chunk.position
                yield chunk
            if len(page) < _PAGE:
                return
