"""A task's events, as server-sent events and as messages of a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from castwork.gateway.sse import sse_frame
from castwork.model.chunk import Chunk
from castwork.model.codec import encode
from castwork.model.errors import ServerError
from castwork.model.record import ErrorInfo, TaskStatus, status_of
from castwork.tasks.task import Task

logger = logging.getLogger(__name__)

#: Seconds between tries to read while the server is away.
_PATIENCE = 0.5


async def follow_task(
    task: Task[Any], after: str | None
) -> AsyncGenerator[Chunk | TaskStatus, None]:
    """Follow a task until it ends; each chunk and each change of status comes once.

    When the server has been away, following goes on behind the last chunk.

    Args:
        after: id of the last chunk that the client has, None for the beginning.

    Raises:
        TaskNotFound: there is no such task, or its record passed its TTL.
    """
    last_seen = None
    while True:
        try:
            async with aclosing(task.events(after)) as events:
                async for item in events:
                    if isinstance(item, Chunk):
                        after = item.id
                        yield item
                    elif (seen := (item.status, item.attempts, item.worker)) != last_seen:
                        last_seen = seen
                        yield status_of(task.id, task.queue, item)
            return
        except ServerError as error:
            logger.warning("following task %s waits: %s", task.id, error)
            await asyncio.sleep(_PATIENCE)


def public_status(status: TaskStatus) -> TaskStatus:
    """A status without the tracebacks, which operators find in dead letters, and other tasks."""
    if (
        status.step is None
        and status.error is None
        and not any(one.error is not None for one in status.tries)
    ):
        return status
    replace = msgspec.structs.replace
    tries = [replace(one, error=_untraced(one.error)) for one in status.tries]
    return replace(status, error=_untraced(status.error), tries=tries, step=None, steps=[])


def _untraced(error: ErrorInfo | None) -> ErrorInfo | None:
    return None if error is None else msgspec.structs.replace(error, traceback="")


def task_sse(item: Chunk | TaskStatus) -> bytes:
    """An item as a server-sent event."""
    if isinstance(item, Chunk):
        return sse_frame(item.kind, encode(item.data), item.id)
    return sse_frame(_name_of(item), encode(public_status(item)))


def task_message(task_id: str, item: Chunk | TaskStatus) -> str:
    """An item as a message of a socket."""
    if isinstance(item, Chunk):
        message = {"type": item.kind, "task_id": task_id, "id": item.id, "data": item.data}
        return encode(message).decode()
    status = encode(public_status(item)).decode()
    return f'{{"type":"{_name_of(item)}",{status[1:]}'


def _name_of(status: TaskStatus) -> str:
    """The name of the event that tells a status."""
    return "result" if status.status.is_final else "status"
