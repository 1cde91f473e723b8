"""Waiting for a task's outcome: the server tells it, nothing is polled."""

from __future__ import annotations

import asyncio

from castwork.model.errors import ResultTimeout, TaskNotFound, UndecodableEntry
from castwork.model.record import Record, decode_record
from castwork.store.queue_store import QueueStore
from castwork.tasks.patience import Patience


class _Waiter:
    """Hears of one task, and keeps it wanted where it would be cancelled without who waits."""

    def __init__(self, store: QueueStore, task_id: str) -> None:
        self.record: Record | None = None
        self.changed = asyncio.Event()
        self._store = store
        self._task_id = task_id
        self._watches = False

    def watch(self) -> None:
        """Keep the task wanted until `close`."""
        if not self._watches:
            self._watches = True
            self._store.watches.enter(self._task_id)

    def close(self) -> None:
        """Hear no more."""
        self._store.told.unwatch(self._task_id, self)
        if self._watches:
            self._store.watches.leave(self._task_id)

    async def look(self, is_known: bool) -> Record | None:
        """The final record, None while there is none; raises TaskNotFound."""
        record = await _read(self._store, self._task_id, is_known)
        if record is None or record.status.is_final:
            return record
        if record.watched:
            self.watch()
        return None

    def on_record(self, raw: bytes) -> None:
        try:
            record = decode_record(raw)
        except UndecodableEntry:
            self.changed.set()  # `wait_for_outcome` then reads the record, and raises the error
            return
        if record.status.is_final:
            self.record = record
            self.changed.set()
        elif record.watched:
            self.watch()

    def on_resumed(self) -> None:
        self.changed.set()

    async def news(self) -> None:
        """Wait for news."""
        await self.changed.wait()


async def wait_for_outcome(
    store: QueueStore,
    task_id: str,
    *,
    timeout: float | None,
    since: float | None = None,
    is_watched: bool = False,
) -> Record:
    """Wait until a task has ended, and return its record.

    Args:
        store: the task's queue.
        task_id: the task.
        timeout: seconds, None for no bound; 0 for one look.
        since: monotonic time just before this process enqueued the task; None for a task that may
            not exist.
        is_watched: whether the task is known to be cancelled when nobody waits for it.

    Raises:
        ResultTimeout: the task has not ended in time; it goes on.
        TaskNotFound: there is no such task, or its record passed its TTL.
        NotOpen: the connections were closed meanwhile.
    """
    if timeout == 0:
        record = await _read(store, task_id, is_known=False)
        if record is None or not record.status.is_final:
            raise ResultTimeout(f"task {task_id} has not ended yet")
        return record
    waiter, patience = _Waiter(store, task_id), Patience(store.unserved)
    try:
        if is_watched:
            waiter.watch()
        async with asyncio.timeout(timeout):
            is_heard = await store.told.watch(task_id, waiter, since=since)
            while waiter.record is None:
                record = None if is_heard else await waiter.look(since is not None)
                if record is not None:
                    return record
                await patience.wait(waiter.news(), waiter.changed.set)
                waiter.changed.clear()
                store.place.check_open()
                # Woken without a record: the connection was away, or a while has passed. Perhaps
                # the server has lost its data, the task included.
                is_heard, since = False, None
            return waiter.record
    except TimeoutError:
        raise ResultTimeout(f"task {task_id} has not ended within {timeout} s") from None
    finally:
        waiter.close()


async def _read(store: QueueStore, task_id: str, is_known: bool) -> Record | None:
    """The record, or only the final one of a task that is known; raises TaskNotFound."""
    if is_known:
        return await store.records.final(task_id)
    record = await store.records.read(task_id)
    if record is None:
        raise TaskNotFound(f"no task {task_id}: it never was, or its record expired")
    return record
