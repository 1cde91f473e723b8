"""Emitter: writes the chunks of one attempt, fenced by their ids."""

from __future__ import annotations

from collections import deque
from typing import Any

from castwork.model.chunk import RESET, Chunk
from castwork.model.errors import LeaseLost, ServerError
from castwork.model.position import Position
from castwork.store.outputs import OutputGone, Outputs, StaleChunk, Written

#: Chunks that may be on their way before the task function waits for the server.
_WINDOW = 32


class Emitter:
    """Writes the chunks of one attempt; their ids are `attempt-number`.

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
        self._under_way: deque[tuple[str, Written]] = deque()

    async def reset(self) -> None:
        """Write the chunk that makes the chunks of earlier attempts void."""
        self._send(f"{self._attempt}-0", RESET, None)
        await self.flush()

    async def emit(self, kind: str, data: Any) -> None:
        """Write a chunk; returns at once while the server keeps up.

        Raises:
            LeaseLost: a later attempt has begun.
            ServerError: an earlier chunk is missing, and later chunks are there;
                `ConnectionFailed`: no server in time.
        """
        self._number += 1
        self._send(f"{self._attempt}-{self._number}", kind, data)
        under_way = self._under_way
        while under_way and (under_way[0][1].done() or len(under_way) > _WINDOW):
            await self._confirm(*self._under_way.popleft())

    async def flush(self) -> None:
        """Wait until the server has every chunk. Raises as `emit`."""
        while self._under_way:
            await self._confirm(*self._under_way.popleft())

    def _send(self, chunk_id: str, kind: str, data: Any) -> None:
        chunk, begins = Chunk(chunk_id, kind, data), not self._begun
        self._begun = True
        written = self._outputs.append(self._task_id, chunk, begins=begins)
        self._under_way.append((chunk_id, written))

    def close(self) -> None:
        """Look at no more answers: the attempt has ended."""
        for _, written in self._under_way:
            written.ignore()
        self._under_way.clear()

    async def _confirm(self, chunk_id: str, written: Written) -> None:
        try:
            await written
        except OutputGone:
            raise LeaseLost(f"the output of task {self._task_id} was taken away") from None
        except StaleChunk:
            newest = await self._outputs.newest(self._task_id)
            if newest is not None and newest.major > self._attempt:
                raise LeaseLost(
                    f"attempt {newest.major} of this task has begun; chunk {chunk_id} was refused"
                ) from None
            # Either the chunk is there, as it was sent again after a lost reply. Or the server took
            # later chunks after it had refused this one: then it can be added no more.
            if not await self._outputs.holds(self._task_id, Position.parse(chunk_id)):
                raise ServerError(
                    f"chunk {chunk_id} was refused for a moment and later ones were not: this"
                    " attempt's output has a hole, another attempt writes it anew"
                ) from None
