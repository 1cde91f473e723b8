"""Taking: a step of a flow takes the results of those before it when it begins."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from castwork.model.errors import InvalidArguments
from castwork.model.ids import prefix_of
from castwork.model.record import Record, decode_record
from castwork.model.states import TaskState
from castwork.model.step import Taken
from castwork.store.queue_store import QueueStore
from castwork.tasks.carrying import with_argument
from castwork.worker.attempt import Attempt

#: Records that are asked for at once.
_AT_ONCE = 1000


async def take(attempt: Attempt, taken: Taken, find_store: Callable[[str], QueueStore]) -> bytes:
    """The arguments of a step, the results of those before it among them.

    Args:
        attempt: the step's attempt.
        taken: whose results it takes.
        find_store: the queue of a task id's prefix.

    Raises:
        InvalidArguments: a result that it needs is gone.
        ConnectionFailed: no server in time.
    """
    if taken.instead:
        [raw] = await _records([taken.instead], find_store)
        if raw is not None and (answer := decode_record(raw)).status is TaskState.SUCCEEDED:
            return with_argument(attempt.args, taken.param, _value(taken.instead, answer))
    arrived = 0
    if taken.count < 0:
        arrived = await find_store(prefix_of(attempt.task_id)).steps.arrived(attempt.task_id)
    ids = taken.ids(arrived)
    values: list[bytes] = []
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        for one, raw in zip(some, await _records(some, find_store), strict=True):
            values.append(_value(one, decode_record(raw) if raw is not None else None))
    value = b"[%b]" % b",".join(values) if taken.is_list else values[0]
    return with_argument(attempt.args, taken.param, value)


async def _records(ids: list[str], find_store: Callable[[str], QueueStore]) -> list[bytes | None]:
    """The records of tasks of any queues."""
    of_queues: dict[str, list[str]] = {}
    for one in ids:
        of_queues.setdefault(prefix_of(one), []).append(one)
    found: dict[str, bytes | None] = {}
    for prefix, some in of_queues.items():
        found.update(zip(some, await find_store(prefix).steps.results(some), strict=True))
    return [found[one] for one in ids]


def _value(task_id: str, record: Record | None) -> bytes:
    """The result of one task as JSON; null for one that did not succeed."""
    if record is None:
        raise InvalidArguments(f"the result of step {task_id} is gone")
    if record.status is not TaskState.SUCCEEDED:
        return b"null"
    if record.result is msgspec.UNSET:
        if record.error is not None:
            raise InvalidArguments(f"the result of step {task_id}: {record.error.message}")
        return b"null"
    return bytes(record.result)
