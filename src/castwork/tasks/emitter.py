"""Emitter: writes a task's chunks, fenced by their ids."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from castwork.model.codec import encode_value
from castwork.model.errors import LeaseLost, ServerRefused
from castwork.redis.link import Link
from castwork.tasks.chunks import Chunk, encode_chunk

#: Seconds that a chunk waits for a server that is away; the task's own timeout ends it before.
_PATIENCE = 3600.0

#: Chunks on their way before the task function waits for the server.
_WINDOW = 32


class Emitter:
    """Writes the chunks of one attempt.

    A chunk's id is `attempt-number`. The stream takes ascending ids only, which makes two
    promises cost nothing: a chunk that is sent again is not doubled, and a worker whose lease
    has passed cannot write behind the next attempt's first entry.

    Args:
        link: where to.
        key: the stream, and the channel that carries the chunks.
        attempt: number of the attempt.
        keep: chunks that are kept; older ones are dropped.
    """

    def __init__(self, link: Link, key: str, attempt: int, keep: int) -> None:
        self._link = link
        self._key = key
        self._attempt = attempt
        self._keep = keep
        self._number = 0
        self._under_way: deque[tuple[str, asyncio.Future[Any]]] = deque()

    async def reset(self) -> None:
        """Say that a new attempt begins: what earlier ones wrote is void."""
        self._send(f"{self._attempt}-0", "reset", None)
        await self.flush()

    async def emit(self, kind: str, data: Any) -> None:
        """Write a chunk; returns at once while the server keeps up.

        Raises:
            LeaseLost: a later attempt has begun.
            ConnectionFailed: no server in time.
        """
        self._number += 1
        self._send(f"{self._attempt}-{self._number}", kind, data)
        under_way = self._under_way
        while under_way and under_way[0][1].done():
            await self._settle(*under_way.popleft())
        while len(under_way) > _WINDOW:
            await self._settle(*under_way.popleft())

    async def flush(self) -> None:
        """Wait until the server has every chunk. Raises as `emit`."""
        while self._under_way:
            await self._settle(*self._under_way.popleft())

    def _send(self, chunk_id: str, kind: str, data: Any) -> None:
        call = self._link.call
        payload = b"" if data is None else encode_value(data)
        written = call(
            "XADD", self._key, "MAXLEN", "~", self._keep, chunk_id, kind, payload, timeout=_PATIENCE
        )
        call("PUBLISH", self._key, encode_chunk(Chunk(chunk_id, kind, data))).add_done_callback(
            _see_error  # readers that miss it find the chunk in the stream
        )
        self._under_way.append((chunk_id, written))

    async def _settle(self, chunk_id: str, written: asyncio.Future[Any]) -> None:
        try:
            await written
        except ServerRefused as error:
            if "equal or smaller" not in str(error):
                raise
            top = await self._link.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
            attempt = int(top[0][0].partition(b"-")[0]) if top else self._attempt
            if attempt > self._attempt:
                raise LeaseLost(
                    f"attempt {attempt} of this task has begun; chunk {chunk_id} was refused"
                ) from None


def _see_error(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
