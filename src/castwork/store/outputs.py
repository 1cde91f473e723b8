"""Outputs: the chunks of tasks, each fenced by its id.

An output is a stream with an entry per chunk. The entry's id is the chunk's id; the entry's only
field has the chunk's kind as its name and the chunk's data as its value. The Redis channel of the
same name announces each chunk as JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from castwork.model.chunk import (
    Chunk,
    decode_chunk,
    decode_live,
    encode_data,
    encode_live,
    predecessor,
)
from castwork.model.errors import ServerRefused
from castwork.model.position import Position
from castwork.model.settings import Limits
from castwork.store.place import QueuePlace
from castwork.store.tail import Item, StreamEntry, parse_entries

#: Seconds that a chunk waits for a server that is away; the task's own timeout ends it before.
_PATIENCE = 3600.0

#: How servers refuse an entry whose id is not above all ids of its stream.
_STALE = "equal or smaller"


class StaleChunk(ServerRefused):
    """The output holds this chunk already, or chunks behind it: `Outputs.newest` tells which."""


class OutputGone(ServerRefused):
    """The output is not there any more: its task has ended, or was forgotten."""


class Written:
    """A chunk on its way; await it for the server's answer.

    Raises (on await):
        StaleChunk: the id is not above all ids that the stream holds.
        OutputGone: there is no output to go on with.
        OutOfMemory: the server takes nothing at present.
        ConnectionFailed: no server in time.
    """

    __slots__ = ("_reply",)

    def __init__(self, reply: asyncio.Future[Any]) -> None:
        self._reply = reply

    def ignore(self) -> None:
        """Have nobody warned of its error, as nobody will wait for it."""
        self._reply.add_done_callback(_see_error)

    def done(self) -> bool:
        """Whether the server has answered, so that awaiting does not wait."""
        return self._reply.done()

    def __await__(self) -> Generator[Any, None, None]:
        try:
            written = yield from self._reply
            if written is None:
                raise OutputGone("the output was taken away")
        except ServerRefused as error:
            if _STALE in str(error):
                raise StaleChunk(str(error)) from None
            raise


class Outputs:
    """The outputs of a queue's tasks.

    The stream takes ascending ids only. So a chunk that is sent again is not doubled, and a worker
    whose lease has passed cannot write behind the first chunk of the next attempt.

    Args:
        place: the queue.
        keep: chunks that each output keeps; older ones are dropped.
    """

    def __init__(self, place: QueuePlace, keep: int = Limits().output) -> None:
        self.place = place
        self._keep = keep

    def append(
        self, task_id: str, chunk: Chunk, *, begins: bool = True, announces: bool = True
    ) -> Written:
        """Append a chunk and announce it; the connections must be open.

        Args:
            task_id: the task.
            chunk: the chunk.
            begins: whether the output may begin with this chunk. A later chunk does not make an
                output anew that was taken away: such an output would never be deleted.
            announces: whether readers are told; not of a chunk that is sent again, as a server
                that refused to store it has told them all the same.

        Returns:
            What to await until the stream has the chunk. Chunks get there in the order of calls.

        Raises:
            InvalidArguments: the data has no JSON form; nothing was sent.
            NotOpen: the connections were closed.
        """
        key = self.place.keys.output(task_id)
        data = encode_data(chunk)
        link = self.place.connections.link_for(self.place.slot)
        behind = () if begins else ("NOMKSTREAM",)
        command = ("XADD", key, *behind, "MAXLEN", "~", self._keep, chunk.id, chunk.kind, data)
        written = link.call(*command, timeout=_PATIENCE)
        if announces:
            announced = link.call("PUBLISH", self.place.channel(key), encode_live(chunk, data))
            announced.add_done_callback(_see_error)  # a reader that misses it reads the stream
        return Written(written)

    async def newest(self, task_id: str) -> Position | None:
        """The position of an output's last chunk, None where there is none."""
        key = self.place.keys.output(task_id)
        entries = parse_entries(await self.place.call("XREVRANGE", key, "+", "-", "COUNT", 1))
        return entries[0].position if entries else None

    async def holds(self, task_id: str, position: Position) -> bool:
        """Whether an output holds a chunk, or has trimmed the chunks of that age by now."""
        key = self.place.keys.output(task_id)
        if await self.place.call("XRANGE", key, str(position), str(position)):
            return True
        oldest = parse_entries(await self.place.call("XRANGE", key, "-", "+", "COUNT", 1))
        return bool(oldest) and oldest[0].position > position

    async def page(self, task_id: str, after: Position, count: int) -> list[StreamEntry]:
        """The first chunks of an output behind a position, at most `count`."""
        key = self.place.keys.output(task_id)
        return parse_entries(await self.place.call("XRANGE", key, f"({after}", "+", "COUNT", count))

    def source(self, task_id: str) -> OutputSource:
        """One task's output as something to follow."""
        return OutputSource(self, task_id)


class OutputSource:
    """One task's output as a `Source`: trimmed chunks are a `Gap`, also at the beginning."""

    begins_anywhere = False
    keeps_announced = False  # an output goes as a whole

    def __init__(self, outputs: Outputs, task_id: str) -> None:
        self._outputs = outputs
        self._task_id = task_id
        self.place = outputs.place
        self.name = f"output of task {task_id}"

    @property
    def channel(self) -> str:
        """The Redis channel that announces the output's chunks."""
        return self.place.channel(self._outputs.place.keys.output(self._task_id))

    def parse(self, payload: bytes) -> Item[Chunk]:
        """Read the message that announces a chunk. Raises UndecodableEntry."""
        return _item(decode_live(payload))

    def read(self, entry: StreamEntry) -> Item[Chunk]:
        """Read a chunk from the stream. Raises UndecodableEntry."""
        return _item(decode_chunk(entry.position, entry.fields))

    async def page(self, after: Position, count: int) -> list[StreamEntry]:
        """Ask for the first chunks behind a position."""
        return await self._outputs.page(self._task_id, after, count)

    async def newest(self) -> Position | None:
        """Ask for the position of the last chunk."""
        return await self._outputs.newest(self._task_id)


def _item(chunk: Chunk) -> Item[Chunk]:
    position = chunk.position
    return Item(position, predecessor(chunk, position), chunk)


def _see_error(future: asyncio.Future[Any]) -> None:
    """Mark a future's error as seen, so that asyncio does not warn when nobody awaits it."""
    if not future.cancelled():
        future.exception()
