"""OutputReader: reads a task's output together with its changes of state."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from castwork.model.chunk import Chunk, trimmed
from castwork.model.errors import TaskNotFound, UndecodableEntry
from castwork.model.position import Position
from castwork.model.record import Record, decode_record
from castwork.store.queue_store import QueueStore
from castwork.store.tail import Gap, Tail
from castwork.store.watches import Watches
from castwork.tasks.patience import Patience


class _States:
    """Hears of a task's changes of state, and wakes the reader of its output.

    A task that is cancelled when nobody follows it is kept wanted from the moment that this is
    known, also while the reader is busy with a chunk.
    """

    def __init__(self, tail: Tail[Chunk], watches: Watches, task_id: str) -> None:
        self._tail = tail
        self._watches = watches
        self._task_id = task_id
        self._is_watching = False
        self.records: deque[Record] = deque()
        self.stale = False

    def on_record(self, raw: bytes) -> None:
        try:
            record = decode_record(raw)
            self.records.append(record)
            self.watch(record)
        except UndecodableEntry:
            self.stale = True  # `follow` then reads the record, and raises the error
        self._tail.wake()

    def watch(self, record: Record) -> None:
        """Keep the task wanted, if its record asks for that, until `leave`."""
        if record.watched and not self._is_watching:
            self._is_watching = True
            self._watches.enter(self._task_id)

    def leave(self) -> None:
        """Keep the task wanted no more."""
        if self._is_watching:
            self._watches.leave(self._task_id)

    def drop_until(self, record: Record | None) -> None:
        """Drop what was told up to this record; what was told behind it stays.

        The news of a later record may overtake the answer to a look.
        """
        if record in self.records:
            while self.records.popleft() != record:
                pass

    def on_resumed(self) -> None:
        self.stale = True
        self._tail.wake()


class OutputReader:
    """Follows one task: every chunk that is kept, once and in order.

    Args:
        store: the task's queue.
        task_id: the task.
        after: id of the last chunk that the caller has, None for the beginning.

    Raises:
        UndecodableEntry: `after` is no chunk id.
    """

    def __init__(self, store: QueueStore, task_id: str, after: str | None) -> None:
        self._store = store
        self._task_id = task_id
        source = store.outputs.source(task_id)
        self._tail = Tail(source, after=Position.parse_or_start(after))
        self._states = _States(self._tail, store.watches, task_id)
        self._patience = Patience(store.unserved)

    async def follow(self) -> AsyncGenerator[Chunk | Record, None]:
        """Yield chunks, and a record at each change of state; the last item is the final record.

        Raises:
            TaskNotFound: there is no such task, or its record passed its TTL.
        """
        try:
            await self._tail.start()
            await self._store.told.watch(self._task_id, self._states)
            record: Record | None = await self._read()
            self._states.drop_until(record)
            while record is None or not record.status.is_final:
                if record is not None:
                    yield record
                for item in self._tail.take_next():
                    yield item.value
                if self._tail.needs_reading:
                    async for chunk in self._chunks():
                        yield chunk
                record = await self._next_record()
                if record is None:
                    await self._patience.wait(self._tail.wait(), self._states.on_resumed)
            async for chunk in self._rest():
                yield chunk
            yield record
        finally:
            self._store.told.unwatch(self._task_id, self._states)
            self._tail.close()
            self._states.leave()

    async def _chunks(self) -> AsyncIterator[Chunk]:
        """The chunks that have come."""
        async for item in self._tail.ready():
            yield trimmed(*item) if isinstance(item, Gap) else item.value

    async def _rest(self) -> AsyncIterator[Chunk]:
        """The chunks that are left when the task has ended."""
        async for item in self._tail.catch_up():
            yield trimmed(*item) if isinstance(item, Gap) else item.value

    async def _next_record(self) -> Record | None:
        """The record of the task's next state, None if the state has not changed."""
        states = self._states
        if states.stale:
            states.stale = False
            states.records.clear()
            return await self._read()
        return states.records.popleft() if states.records else None

    async def _read(self) -> Record:
        """The record of the task; raises TaskNotFound."""
        record = await self._store.records.read(self._task_id)
        if record is None:
            raise TaskNotFound(f"no task {self._task_id}: it never was, or its record expired")
        self._states.watch(record)
        return record
