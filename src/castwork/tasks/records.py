"""What is known of a task: its record, or its place in the queue while it has no record yet."""

from __future__ import annotations

import asyncio

from castwork.model.entry import parse_entry
from castwork.model.errors import UndecodableEntry
from castwork.model.record import Record, decode_record
from castwork.model.states import Priority, TaskState
from castwork.redis.connections import Connections
from castwork.redis.keys import QueueKeys


async def read_record(connections: Connections, keys: QueueKeys, task_id: str) -> Record | None:
    """The record of a task, one made of its entry while it has none, None if there is no task.

    The place in `entries` is read before the record, because whatever takes a task out of the
    queue writes its record in the same step; the other way round both could be missed.

    Args:
        keys: keys of its queue.

    Raises:
        ConnectionFailed: no server in time.
        UndecodableEntry: the key holds something else.
    """
    if not connections.is_open:
        await connections.open()
    link = connections.commands
    place, raw = await asyncio.gather(
        link.call("HGET", keys.entries, task_id),
        link.call("GET", keys.record(task_id)),
    )
    if raw is not None:
        return decode_record(raw)
    if place is None:
        return None
    lane, _, entry = place.decode().partition(":")
    page = await link.call("XRANGE", keys.lanes[Priority(lane)], entry, entry)
    if not page:  # it has ended meanwhile
        raw = await link.call("GET", keys.record(task_id))
        return Record(TaskState.QUEUED) if raw is None else decode_record(raw)
    try:
        return Record(TaskState.QUEUED, parse_entry(page[0][1]).task)
    except UndecodableEntry:
        return Record(TaskState.QUEUED)  # a worker will say what is wrong with it
