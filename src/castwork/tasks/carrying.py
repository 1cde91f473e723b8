"""Carrying: what the end of a step means for the steps behind it, done by a worker of its queue.

Everything here may be done again: the task that carries an end runs at least once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from castwork.model.call_options import CallSettings
from castwork.model.ids import prefix_of
from castwork.model.record import ErrorInfo, Record, TaskStatus, decode_record, status_of
from castwork.model.states import Priority, TaskState
from castwork.model.step import Fan, Later, Step
from castwork.store.queue_store import QueueStore
from castwork.tasks.plan import Plan
from castwork.tasks.producer import Producer

#: Items whose tasks are enqueued at once.
_AT_ONCE = 1000

#: Seconds that the results of tasks are kept which a carrier has enqueued.
_KEPT_S = 7 * 86_400.0

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
        if step.fan is not None and has_succeeded:
            await self._fan_out(status, step, step.fan)
        elif step.next and (has_succeeded or step.goes_on):
            await self._store_of(step.next).steps.arrive(step.next, step.place, step.of)
        elif step.next:
            await self._fail(step.next, status)

    def _store_of(self, task_id: str) -> QueueStore:
        return self._find_store(prefix_of(task_id))

    async def _fail(self, task_id: str, before: TaskStatus) -> None:
        """Fail a step that waits, as one before it did not succeed."""
        store = self._store_of(task_id)
        known = await store.records.read(task_id)
        if known is None or known.status is not TaskState.SCHEDULED:
            return
        assert known.step is not None
        assert before.step is not None
        cause = before.step.cause or before.task_id
        was_cancelled = before.step.was_cancelled or before.status is TaskState.CANCELLED
        rescue = known.step.rescue
        if rescue is not None and before.task_id != rescue.id and not was_cancelled:
            await self._rescue(task_id, rescue, await self._status(cause) or before)
            return
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
            ids = taken.before(await steps.arrived(status.task_id))
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                if status.status is TaskState.CANCELLED:
                    cancelled = await asyncio.gather(*map(self._cancel, some))
                    statuses += [one for one in cancelled if one is not None]
                await asyncio.gather(*(self._store_of(one).steps.taken([one]) for one in some))
            await steps.forget(status.task_id)

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

    async def _fan_out(self, status: TaskStatus, step: Step, fan: Fan) -> None:
        """Enqueue a task for each item of the result."""
        [raw] = await self._store_of(status.task_id).steps.results([status.task_id])
        record = decode_record(raw) if raw is not None else Record(TaskState.EXPIRED)
        try:
            items = _items.decode(b"" if record.result is msgspec.UNSET else record.result)
        except msgspec.DecodeError:
            status.error = ErrorInfo("TypeError", "its result is no list, as then_each needs one")
            await self._fail(step.next, status)
            return
        store = self._store_of(f"{fan.id}0")
        producer = Producer(store, store.limits)
        for start in range(0, len(items), _AT_ONCE):
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
        result_ttl=_KEPT_S,
        owner=before.owner,
        tenant=before.tenant,
    )
    return Plan(later.task, settings, step=step)


def with_argument(args: bytes, name: str, value: bytes) -> bytes:
    """Arguments as JSON, with one more whose value is JSON."""
    rest = args.strip()[1:]
    comma = b"" if rest.strip() == b"}" else b","
    return b"{%b:%b%b%b" % (msgspec.json.encode(name), value, comma, rest)
