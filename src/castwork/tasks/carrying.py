"""Carrying: what the end of a step means for the steps behind it, done by a worker of its queue.

Everything here may be done again: the task that carries an end runs at least once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import groupby
from typing import Any

import msgspec

from castwork.model.call_options import CallSettings
from castwork.model.ids import prefix_of
from castwork.model.record import ErrorInfo, Record, TaskStatus, decode_record, status_of
from castwork.model.states import Priority, TaskState
from castwork.model.step import Fan, Later, Step, Taken
from castwork.store.queue_store import QueueStore
from castwork.tasks.plan import Plan
from castwork.tasks.producer import Producer

#: Items whose tasks are enqueued at once.
_AT_ONCE = 1000

#: Seconds that are left, at least, to a task whose deadline has just passed.
_SHORTEST = 0.001

FindStore = Callable[[str], QueueStore]

_encode = msgspec.json.Encoder().encode
_items = msgspec.json.Decoder(list[msgspec.Raw])


class Carrier:
    """Carries the ends of steps to the steps that wait for them.

    Args:
        find_store: the queue of a task id's prefix.
    """

    def __init__(self, find_store: FindStore) -> None:
        self._find_store = find_store

    async def carry(self, status: TaskStatus) -> None:
        """Carry one end. Raises ConnectionFailed."""
        step = status.step
        assert step is not None
        has_succeeded = status.status is TaskState.SUCCEEDED
        await self._leave(status)
        if not step.next:
            return
        if step.fan is not None and has_succeeded:
            is_wanted = await self._fan_out(status, step, step.fan)
        elif has_succeeded or step.goes_on:
            steps = self._store_of(step.next).steps
            is_wanted = await steps.arrive(step.next, step.place, step.of)
        else:
            is_wanted = await self._fail(step.next, status)
        if not is_wanted:
            await self._store_of(status.task_id).steps.taken([status.task_id])

    def _store_of(self, task_id: str) -> QueueStore:
        return self._find_store(prefix_of(task_id))

    async def _fail(self, task_id: str, before: TaskStatus) -> bool:
        """Fail a step that waits, as one before it did not succeed; False where it has ended."""
        store = self._store_of(task_id)
        known = await store.records.read(task_id)
        if known is None or known.status is not TaskState.SCHEDULED:
            return known is not None and not known.status.is_final
        assert known.step is not None
        assert before.step is not None
        cause = before.step.cause or before.task_id
        was_cancelled = before.step.was_cancelled or before.status is TaskState.CANCELLED
        rescue = known.step.rescue
        if rescue is not None and before.task_id != rescue.id and not was_cancelled:
            await self._rescue(task_id, rescue, await self._status(cause) or before)
            return True
        error = before.error
        said = f": {error.type}: {error.message}" if error is not None else ""
        if error is not None and error.type == "StepFailed":
            reason = error.message
        else:
            reason = f"step {before.task} ({before.task_id}) {_HOW[before.status]}{said}"
        failed = msgspec.structs.replace(
            known,
            status=TaskState.FAILED,
            error=ErrorInfo("StepFailed", reason[:2000]),
            step=msgspec.structs.replace(known.step, cause=cause, was_cancelled=was_cancelled),
        )
        following = store.follow_up(status_of(task_id, store.queue.name, failed))
        await store.records.end(task_id, failed, following)
        return True

    async def _status(self, task_id: str) -> TaskStatus | None:
        store = self._store_of(task_id)
        known = await store.records.read(task_id)
        return None if known is None else status_of(task_id, store.queue.name, known)

    async def _rescue(self, step_id: str, rescue: Later, failed: TaskStatus) -> None:
        """Enqueue the task that answers a failure; the step that waits goes on with its result."""
        store = self._store_of(rescue.id)
        told = msgspec.structs.replace(failed, step=None, result=msgspec.UNSET)
        await Producer(store, store.limits).enqueue(
            _plan(rescue, rescue.id, failed, Step(step_id)),
            with_argument(rescue.args.encode(), rescue.param, _encode(told)),
        )

    async def _leave(self, ended: TaskStatus) -> None:
        """Let go of what a step has taken; cancel what it waited for, where it is cancelled.

        What is cancelled here is carried on at once, as nobody may serve its queue.
        """
        statuses = [ended]
        while statuses:
            status = statuses.pop()
            taken = status.step.takes if status.step is not None else None
            if taken is None:
                continue
            steps = self._store_of(status.task_id).steps
            ids = taken.before(await self._count(status, taken))
            if status.status is TaskState.CANCELLED:
                statuses += await self._cancel_all(ids)
            for prefix, some in groupby(ids, prefix_of):
                await self._find_store(prefix).steps.taken(list(some))
            await steps.forget(status.task_id)

    async def _count(self, ended: TaskStatus, taken: Taken) -> int:
        """How many tasks were made for the items that a step takes; 0 where there are none."""
        if taken.count >= 0:
            return 0
        if taken.maker and ended.status in (TaskState.FAILED, TaskState.CANCELLED):
            items = await self._items(taken.maker)
            if items is not None:
                return len(items)
        return await self._store_of(ended.task_id).steps.arrived(ended.task_id)

    async def _items(self, maker_id: str) -> list[msgspec.Raw] | None:
        """The items of a step's result; None where it is no list, or is gone."""
        [raw] = await self._store_of(maker_id).steps.results([maker_id])
        record = decode_record(raw) if raw is not None else Record(TaskState.EXPIRED)
        try:
            return _items.decode(b"" if record.result is msgspec.UNSET else record.result)
        except msgspec.DecodeError:
            return None

    async def _cancel_all(self, task_ids: list[str]) -> list[TaskStatus]:
        """Cancel steps unless they run or have ended; return the statuses of those that were."""
        ended: list[TaskStatus] = []
        for start in range(0, len(task_ids), _AT_ONCE):
            some = await asyncio.gather(*map(self._cancel, task_ids[start : start + _AT_ONCE]))
            ended += [one for one in some if one is not None]
        return ended

    async def _cancel(self, task_id: str) -> TaskStatus | None:
        """Cancel a step unless it runs or has ended; return its status then."""
        store = self._store_of(task_id)
        known = await store.records.read(task_id)
        if known is None or known.status not in (TaskState.SCHEDULED, TaskState.QUEUED):
            return None
        cancelled = msgspec.structs.replace(known, status=TaskState.CANCELLED)
        status = status_of(task_id, store.queue.name, cancelled)
        ended = await store.records.end(task_id, cancelled, store.follow_up(status))
        return status if ended is TaskState.CANCELLED else None

    async def _fan_out(self, status: TaskStatus, step: Step, fan: Fan) -> bool:
        """Enqueue a task for each item of the result; False where the step behind has ended."""
        items = await self._items(status.task_id)
        if items is None:
            status.error = ErrorInfo("TypeError", "its result is no list, as then_each needs one")
            return await self._fail(step.next, status)
        store = self._store_of(f"{fan.id}0")
        producer = Producer(store, store.limits)
        for start in range(0, len(items), _AT_ONCE):
            if not await self._is_wanted(step.next):
                break
            some = range(start, min(start + _AT_ONCE, len(items)))
            await asyncio.gather(
                *(
                    producer.enqueue(
                        _plan(
                            fan,
                            f"{fan.id}{number}",
                            status,
                            Step(step.next, number, len(items), fan.goes_on),
                        ),
                        with_argument(fan.args.encode(), fan.param, bytes(items[number])),
                    )
                    for number in some
                )
            )
        if not items:
            await self._store_of(step.next).steps.begin(step.next)
        if await self._is_wanted(step.next):
            return True
        # The step behind may have ended while its tasks were made: then nobody else saw them all.
        if await self._was_cancelled(step.next):
            await self._cancel_all([f"{fan.id}{number}" for number in range(len(items))])
        return False

    async def _is_wanted(self, step_id: str) -> bool:
        """Whether a step is still to end."""
        known = await self._status(step_id)
        return known is not None and not known.status.is_final

    async def _was_cancelled(self, step_id: str) -> bool:
        known = await self._status(step_id)
        return known is not None and known.status is TaskState.CANCELLED


_HOW: dict[Any, str] = {
    TaskState.SUCCEEDED: "did not give what follows",
    TaskState.FAILED: "failed",
    TaskState.DEAD: "is dead",
    TaskState.CANCELLED: "was cancelled",
    TaskState.EXPIRED: "expired",
}


def _plan(later: Later, task_id: str, before: TaskStatus, step: Step) -> Plan:
    """How a call is enqueued whose first argument is known now."""
    settings = CallSettings(
        id=task_id.partition(":")[2],
        priority=Priority(later.priority),
        attempts=later.attempts or None,
        timeout=later.timeout or None,
        deadline=max(_SHORTEST, later.until - time.time()) if later.until else None,
        owner=later.owner or before.owner,
        tenant=later.tenant or before.tenant,
        labels=tuple(sorted(later.labels.items())),
        headers=tuple(sorted(later.headers.items())),
    )
    return Plan(later.task, settings, parent=later.parent, step=step)


def with_argument(args: bytes, name: str, value: bytes) -> bytes:
    """Arguments as JSON, with one more whose value is JSON."""
    rest = args.strip()[1:]
    comma = b"" if rest.strip() == b"}" else b","
    return b"{%b:%b%b%b" % (msgspec.json.encode(name), value, comma, rest)
