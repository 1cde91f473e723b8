"""Waiting for a task's outcome: told by the server, never by polling."""

from __future__ import annotations

import asyncio

from castwork.model.errors import ResultTimeout, TaskNotFound
from castwork.model.record import Record, decode_record
from castwork.redis.connections import Connections


class _Outcome:
    """Listens to the channel of one record."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.record: Record | None = None
        self.stale = False

    def on_message(self, payload: bytes) -> None:
        record = decode_record(payload)
        if record.state.is_final:
            self.record = record
            self.changed.set()

    def on_resumed(self) -> None:
        self.stale = True
        self.changed.set()


async def read_record(connections: Connections, key: str) -> Record | None:
    """Read a record, None if there is none.

    Raises:
        ConnectionFailed: no server in time.
        UndecodableEntry: the key holds something else.
    """
    if not connections.is_open:
        await connections.open()
    raw = await connections.commands.call("GET", key)
    return None if raw is None else decode_record(raw)


async def wait_for_outcome(
    connections: Connections,
    key: str,
    *,
    task_id: str,
    timeout: float | None,
    must_exist: bool = True,
) -> Record:
    """Wait until a task has ended, and return its record.

    Args:
        key: key of the record, which is also its channel.
        task_id: for errors.
        timeout: seconds, None for no bound.
        must_exist: whether a missing record is an error; a task of an adopted stream has
            none before it starts.

    Raises:
        ResultTimeout: it has not ended in time; it goes on.
        TaskNotFound: there is no such task, or its record passed its TTL.
    """
    if not connections.is_open:
        await connections.open()
    outcome = _Outcome()
    pushes, commands = connections.pushes, connections.commands
    try:
        async with asyncio.timeout(timeout):
            await pushes.add(key, outcome)
            while True:
                raw = await commands.call("GET", key)
                if raw is not None:
                    record = decode_record(raw)
                    if record.state.is_final:
                        return record
                elif must_exist and outcome.record is None:
                    raise TaskNotFound(f"no task {task_id}: it never was, or its record expired")
                await outcome.changed.wait()
                if not outcome.stale and outcome.record is not None:
                    return outcome.record
                outcome.changed.clear()
                outcome.stale = False
    except TimeoutError:
        raise ResultTimeout(f"task {task_id} has not ended within {timeout} s") from None
    finally:
        pushes.remove(key, outcome)
