"""Before: the steps of a flow that a step waits for, or waited for, as its status shows them."""

from __future__ import annotations

import asyncio

from castwork.model.ids import prefix_of
from castwork.model.record import Record, StepStatus, TaskFacts, TaskStatus
from castwork.model.states import TaskState
from castwork.model.step import Taken
from castwork.store.queue_store import QueueStore
from castwork.tasks.end_hooks import STEP

#: Steps that a status shows, at most.
_MOST = 100


async def steps_before(status: TaskStatus, store: QueueStore) -> list[StepStatus]:
    """The steps before one, in the order in which they run; the nearest 100 of very many.

    The tasks of items are shown as one. What is gone, an hour after the step behind it has ended,
    is left out, and so are tasks of castwork's own.

    Args:
        status: the step.
        store: its queue.

    Raises:
        ConnectionFailed: no server in time.
    """
    found: list[StepStatus] = []
    behind: list[tuple[str, TaskFacts]] = [(status.task_id, status)]
    while behind and len(found) < _MOST:
        step_id, facts = behind.pop(0)
        taken = facts.step.takes if facts.step is not None else None
        if taken is None:
            continue
        known = await _read(taken, _MOST - len(found), store)
        if taken.maker in known:
            answered = taken.instead in known
            items = await _items(known[taken.maker], step_id, facts, store, answered=answered)
            found += [items] if items is not None else []
        for one, record in known.items():
            if not record.task.startswith(STEP):
                ended = int(record.status.is_final)
                found.append(StepStatus(record.task, prefix_of(one), record.status, one, 1, ended))
            behind.append((one, record))
    return found[::-1]


async def _read(taken: Taken, most: int, store: QueueStore) -> dict[str, Record]:
    """What is known of the single tasks that a step takes, the last one first."""
    ids = [one for one in (taken.instead, taken.maker) if one]
    if not taken.maker:
        ids += reversed(taken.ids(0)[:most])
    records = await asyncio.gather(*(store.beside(prefix_of(i)).records.read(i) for i in ids))
    return {i: one for i, one in zip(ids, records, strict=True) if one is not None}


async def _items(
    maker: Record, step_id: str, step: TaskFacts, store: QueueStore, *, answered: bool
) -> StepStatus | None:
    """The tasks of items as one.

    Args:
        maker: the step whose result the items are.
        step_id, step: the step that takes what becomes of them.
        store: a queue of the flow.
        answered: whether a failure of one of them was answered.
    """
    fan = maker.step.fan if maker.step is not None else None
    if fan is None or step.step is None:
        return None
    queue = prefix_of(f"{fan.id}0")
    if maker.status is not TaskState.SUCCEEDED:
        return StepStatus(fan.task, queue, TaskState.SCHEDULED, count=0)
    first = await store.beside(queue).records.read(f"{fan.id}0")
    count = first.step.of if first is not None and first.step is not None else 0
    ended = await store.beside(prefix_of(step_id)).steps.arrived(step_id)
    if step.status is TaskState.CANCELLED:
        shown = TaskState.CANCELLED
    elif answered or step.step.cause:
        shown = TaskState.FAILED
    elif step.status.is_final or ended >= count:  # what has arrived is forgotten by then
        shown, ended = TaskState.SUCCEEDED, count
    else:
        shown = TaskState.RUNNING
    return StepStatus(fan.task, queue, shown, count=count, ended=ended)
