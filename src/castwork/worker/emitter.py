"""Emitter: writes the chunks of one attempt, fenced by their ids."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, NamedTuple

from castwork.model.chunk import RESET, Chunk
from castwork.model.errors import (
    CastworkError,
    LeaseLost,
    OutOfMemory,
    PersistenceFailed,
    ServerError,
)
from castwork.store.outputs import OutputGone, Outputs, StaleChunk, Written

logger = logging.getLogger(__name__)

#: Chunks that may be on their way before the task function waits for the server.
_WINDOW = 32

#: Seconds before chunks are sent again that the server would not take for now.
_PATIENCE = 0.5

#: How a server refuses writes until it has memory, or room on its disk, again.
_LATER = (OutOfMemory, PersistenceFailed)


class _Sent(NamedTuple):
    """A chunk on its way."""

    chunk: Chunk
    begins: bool
    written: Written


class Emitter:
    """Writes the chunks of one attempt; their ids are `attempt-number`.

    While the server is away, or takes no writes for now, `emit` and `flush` wait; the task's
    timeout ends the wait.

    Args:
        outputs: takes the chunks.
        task_id: the task.
        attempt: number of the attempt.
    """

    def __init__(self, outputs: Outputs, task_id: str, attempt: int) -> None:
        self._outputs = outputs
        self._task_id = task_id
        self._attempt = attempt
        self._number = 0
        self._begun = False
        self._closed = False
        self._resumed: asyncio.Event | None = None
        self._under_way: deque[_Sent] = deque()

    async def reset(self) -> None:
        """Write the chunk that makes the chunks of earlier attempts void."""
        self._send(Chunk(f"{self._attempt}-0", RESET, None))
        await self.flush()

    async def emit(self, kind: str, data: Any) -> None:
        """Write a chunk; returns at once while the server keeps up.

        Raises:
            InvalidArguments: the data has no JSON form; nothing was written.
            LeaseLost: a later attempt has begun.
            ServerError: an earlier chunk is missing, and later chunks are there;
                `ConnectionFailed`: no server in time.
        """
        while self._resumed is not None:
            await self._resumed.wait()
        number = self._number + 1
        self._send(Chunk(f"{self._attempt}-{number}", kind, data))
        self._number = number
        under_way = self._under_way
        while under_way and (under_way[0].written.done() or len(under_way) > _WINDOW):
            await self._confirm(under_way.popleft())

    async def flush(self) -> None:
        """Wait until the server has every chunk. Raises as `emit`."""
        while self._under_way:
            await self._confirm(self._under_way.popleft())
        if self._resumed is not None:
            await self._resumed.wait()
            await self.flush()

    def close(self) -> None:
        """Look at no more answers: the attempt has ended."""
        self._closed = True
        for sent in self._under_way:
            sent.written.ignore()
        self._under_way.clear()

    def _send(self, chunk: Chunk, *, begins: bool = False, again: bool = False) -> None:
        begins = begins or not self._begun
        written = self._outputs.append(self._task_id, chunk, begins=begins, announces=not again)
        self._begun = True
        self._under_way.append(_Sent(chunk, begins, written))

    async def _confirm(self, sent: _Sent) -> None:
        try:
            await sent.written
        except _LATER as error:
            await self._send_later(sent, error)
        except OutputGone:
            raise LeaseLost(f"the output of task {self._task_id} was taken away") from None
        except StaleChunk:
            await self._explain(sent.chunk)

    async def _explain(self, chunk: Chunk) -> None:
        """Find out why a chunk came too late; raises unless the output holds it."""
        newest = await self._outputs.newest(self._task_id)
        if newest is not None and newest.major > self._attempt:
            raise LeaseLost(
                f"attempt {newest.major} of this task has begun; chunk {chunk.id} was refused"
            ) from None
        # Either the chunk is there, as it was sent again after a lost reply. Or the server took
        # later chunks after it had refused this one: then it can be added no more.
        if not await self._outputs.holds(self._task_id, chunk.position):
            raise ServerError(
                f"chunk {chunk.id} was refused for a moment and later ones were not: this"
                " attempt's output has a hole, another attempt writes it anew"
            ) from None

    async def _send_later(self, refused: _Sent, error: ServerError) -> None:
        """After a while send a refused chunk again, and the chunks behind it.

        All of them are sent, in order. The server has refused those behind this one as well, or
        they have left a hole, which `_explain` reports.
        """
        self._under_way.append(refused)
        if self._resumed is not None:  # another coroutine of the task is at it
            await self._resumed.wait()
            return
        self._resumed = resumed = asyncio.Event()
        try:
            logger.warning("task %s: its output waits for the server: %s", self._task_id, error)
            await asyncio.sleep(_PATIENCE)
            if self._closed:
                raise CastworkError(f"task {self._task_id} has ended: it has no output any more")
            behind, self._under_way = self._under_way, deque()
            for sent in sorted(behind, key=lambda sent: sent.chunk.position):
                sent.written.ignore()
                self._send(sent.chunk, begins=sent.begins, again=True)
        finally:
            self._resumed = None
            resumed.set()
