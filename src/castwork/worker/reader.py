"""Reader: waits on the server for tasks of all queues that have nothing to do."""

from __future__ import annotations

import asyncio
from typing import Protocol

from castwork.redis.replies import Unblocked
from castwork.store.claims import Batch
from castwork.store.place import QueuePlace
from castwork.store.reads import BlockingReads
from castwork.worker.turns import let_short_tasks_end


class Idle(Protocol):
    """A queue that waits for tasks."""

    @property
    def place(self) -> QueuePlace:
        """The queue."""

    @property
    def rank(self) -> int:
        """Its place among the worker's queues: the first takes what it may first."""

    @property
    def wants(self) -> int:
        """Entries that each of the queue's lanes may bring."""

    @property
    def may_read(self) -> bool:
        """Whether a read may bring tasks of the queue."""

    def take(self, batch: Batch) -> None:
        """Begin the entries that came."""


class Reader:
    """Makes one blocking read at a time, for all queues that are idle when the read begins.

    A queue that becomes idle later ends the read on the server, and joins the next read. Where the
    server refuses CLIENT UNBLOCK, the queue joins when the read's time is up. A read is never
    cancelled: a cancelled read may already have claimed.

    Args:
        reads: a connection of its own.
        block: seconds that a read waits on the server.
    """

    def __init__(self, reads: BlockingReads, *, block: float) -> None:
        self._reads = reads
        self._block = block
        self._idle: dict[Idle, asyncio.Future[Batch | None]] = {}
        self._members: list[Idle] = []
        self._joined = asyncio.Event()
        self._reading = False
        self._is_ending = False
        self._endings: set[asyncio.Task[bool]] = set()
        self._stopping = False

    async def wait(self, queue: Idle) -> Batch | None:
        """Wait until the server has tasks for a queue; the tasks have begun when this returns.

        Returns:
            The batch that came; None when the reader stops.

        Raises:
            NoGroup: the group of a lane is gone.
            ConnectionFailed: the connection broke; tasks may have been claimed.
            ServerRefused: the server refuses the read.
        """
        if self._stopping:
            return None
        came: asyncio.Future[Batch | None] = asyncio.get_running_loop().create_future()
        self._idle[queue] = came
        self.begin_anew()
        return await came

    def begin_anew(self) -> None:
        """End a read that waits on the server, as the queues that it should serve have changed."""
        self._joined.set()
        if self._reading and not self._is_ending:
            self._is_ending = True  # queues that join from now on need not end the read again
            ending = asyncio.create_task(self._reads.unblock(self._members[0].place))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def run(self) -> None:
        """Read until `stop`."""
        while not self._stopping:
            members = sorted(
                (queue for queue in self._idle if queue.may_read), key=lambda queue: queue.rank
            )
            if not members:
                self._joined.clear()
                await self._joined.wait()
                continue
            try:
                batches = await self._read(members)
            except Unblocked:
                continue
            except Exception as error:
                self._fail(members, error)
                continue
            for queue, batch in zip(members, batches, strict=True):
                if batch.lanes:
                    queue.take(batch)
                    self._resolve(queue, batch)
            if any(batch.lanes for batch in batches):
                await let_short_tasks_end()
                await asyncio.sleep(0)  # a turn in which queues that are idle again join
        for queue in list(self._idle):
            self._resolve(queue, None)

    async def _read(self, members: list[Idle]) -> list[Batch]:
        # The queues share the worker's slots.
        count = max(1, min(queue.wants for queue in members) // len(members))
        self._reading, self._is_ending = True, False
        self._members = members
        try:
            places = [queue.place for queue in members]
            return await self._reads.read(places, count=count, block=self._block)
        finally:
            self._reading = False

    def _resolve(self, queue: Idle, batch: Batch | None) -> None:
        came = self._idle.pop(queue, None)
        if came is not None and not came.done():
            came.set_result(batch)

    def _fail(self, members: list[Idle], error: Exception) -> None:
        for queue in members:
            came = self._idle.pop(queue, None)
            if came is not None and not came.done():
                came.set_exception(error)

    async def stop(self) -> None:
        """Stop; a read that waits on the server is ended there.

        Where the server cannot end the read, the connection is closed. Tasks that the read claims
        after that come back when their lease has run out.
        """
        if self._stopping:
            return
        self._stopping = True
        self._joined.set()
        if self._reading and not await self._reads.unblock(self._members[0].place):
            await self._reads.link.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._reads.link.close()
