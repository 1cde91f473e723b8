"""Waiting for a task's outcome: the server tells it, nothing is polled."""

from __future__ import annotations

import asyncio

from castwork.model.errors import ResultTimeout, TaskNotFound, UndecodableEntry
from castwork.model.record import Record, decode_record
from castwork.store.queue_store import QueueStore
from castwork.tasks.patience import Patience


class _Waiter:
    """Hears of one task."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self.changed = asyncio.Event()

    def on_record(self, raw: bytes) -> None:
        try:
            record = decode_record(raw)
        except UndecodableEntry:
            self.changed.set()  # `wait_for_outcome` then reads the record, and raises the error
            return
        if record.status.is_final:
            self.record = record
            self.changed.set()

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
) -> Record:
    """Wait until a task has ended, and return its record.

    Args:
        store: the task's queue.
        task_id: the task.
        timeout: seconds, None for no bound; 0 for one look.
        since: monotonic time just before this process enqueued the task; None for a task that may
            not exist.

    Raises:
        ResultTimeout: the task has not ended in time; it goes on.
        TaskNotFound: there is no such task, or its record passed its TTL.
        NotOpen: the connections were closed meanwhile.
    """
    if timeout == 0:
        record = await _look(store, task_id, is_known=False)
        if record is None:
            raise ResultTimeout(f"task {task_id} has not ended yet")
        return record
    waiter, patience = _Waiter(), Patience(store.unserved)
    try:
        async with asyncio.timeout(timeout):
            is_heard = await store.told.watch(task_id, waiter, since=since)
            while waiter.record is None:
                record = None if is_heard else await _look(store, task_id, since is not None)
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
        store.told.unwatch(task_id, waiter)


async def _look(store: QueueStore, task_id: str, is_known: bool) -> Record | None:
    """The final record, None while there is none; raises TaskNotFound."""
    if is_known:
        return await store.records.final(task_id)
    record = await store.records.read(task_id)
    if record is None:
        raise TaskNotFound(f"no task {task_id}: it never was, or its record expired")
    return record if record.status.is_final else None
