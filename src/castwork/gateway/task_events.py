"""A task's events, as server-sent events and as messages of a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from castwork.gateway.sse import sse_frame
from castwork.model.codec import encode
from castwork.model.errors import ConnectionFailed, ServerRefused
from castwork.model.record import Record
from castwork.tasks.chunks import Chunk
from castwork.tasks.task import Task, TaskStatus, status_of

logger = logging.getLogger(__name__)

#: Seconds between looks whether a server that is away is back.
_PATIENCE = 0.5


async def follow_task(
    task: Task[Any], after: str | None
) -> AsyncGenerator[Chunk | TaskStatus, None]:
    """Follow a task until it ends; each chunk comes once, each change of state too.

    It goes on where it was when the server has been away.
    """
    last_seen = None
    while True:
        try:
            async with aclosing(task.events(after)) as events:
                async for item in events:
                    if isinstance(item, Chunk):
                        after = item.id
                        yield item
                    elif (seen := (item.state, item.attempts, item.worker)) != last_seen:
                        last_seen = seen
                        yield _status(task, item)
            return
        except (ConnectionFailed, ServerRefused) as error:
            logger.warning("following task %s waits: %s", task.id, error)
            await asyncio.sleep(_PATIENCE)


def _status(task: Task[Any], record: Record) -> TaskStatus:
    return status_of(task.id, task.queue, record)


def encode_status(status: TaskStatus) -> bytes:
    """A status as JSON. Tracebacks are for operators, who find them in the dead letters."""
    if status.error is not None:
        status.error.traceback = ""
    return encode(status)


def event_of(item: Chunk | TaskStatus) -> str:
    """The name of an event: `status`, `chunk`, `progress`, `reset` or `result`."""
    if isinstance(item, Chunk):
        return item.kind
    return "result" if item.status.is_final else "status"


def task_sse(item: Chunk | TaskStatus) -> bytes:
    """An item as a server-sent event."""
    if isinstance(item, Chunk):
        return sse_frame(item.kind, encode(item.data), item.id)
    return sse_frame(event_of(item), encode_status(item))


def task_message(task_id: str, item: Chunk | TaskStatus) -> str:
    """An item as a message of a socket."""
    if isinstance(item, Chunk):
        message = {"type": item.kind, "task_id": task_id, "id": item.id, "data": item.data}
        return encode(message).decode()
    return f'{{"type":"{event_of(item)}",{encode_status(item)[1:].decode()}'
