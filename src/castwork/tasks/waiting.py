"""Waiting for a task's outcome: told by the server, never by polling."""

from __future__ import annotations

import asyncio

from castwork.model.errors import ResultTimeout, TaskNotFound
from castwork.model.record import Record, decode_record
from castwork.redis.connections import Connections
from castwork.redis.keys import QueueKeys


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


async def wait_for_outcome(
    connections: Connections,
    keys: QueueKeys,
    task_id: str,
    *,
    timeout: float | None,
    must_exist: bool = True,
) -> Record:
    """Wait until a task has ended, and return its record.

    Args:
        keys: keys of its queue.
        timeout: seconds, None for no bound.
        must_exist: whether a missing record is an error; a task of an adopted stream has
            none before it starts.

    Raises:
        ResultTimeout: it has not ended in time; it goes on.
        TaskNotFound: there is no such task, or its record passed its TTL.
    """
    if not connections.is_open:
        await connections.open()
    outcome, pushes, commands = _Outcome(), connections.pushes, connections.commands
    key = keys.record(task_id)
    # In this order: a task leaves `entries` in the step that writes its record.
    look = (("HEXISTS", keys.entries, task_id), ("GET", key))
    try:
        async with asyncio.timeout(timeout):
            waits, raw = await pushes.add_and_ask(key, outcome, *look)
            while True:
                if raw is not None:
                    record = decode_record(raw)
                    if record.state.is_final:
                        return record
                elif must_exist and not waits and outcome.record is None:
                    raise TaskNotFound(f"no task {task_id}: it never was, or its record expired")
                await outcome.changed.wait()
                if not outcome.stale and outcome.record is not None:
                    return outcome.record
                outcome.changed.clear()
                outcome.stale = False
                waits, raw = await asyncio.gather(*(commands.call(*words) for words in look))
    except TimeoutError:
        raise ResultTimeout(f"task {task_id} has not ended within {timeout} s") from None
    finally:
        pushes.remove(key, outcome)
