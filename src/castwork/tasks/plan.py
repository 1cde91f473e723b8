"""Plan: how the calls of one function with the same options are enqueued, worked out once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

import msgspec

from castwork.model.call_options import CallSettings
from castwork.model.entry import Entry, Meta, encode_meta, wire_name, with_meta
from castwork.model.ids import deferred_id, own_id
from castwork.model.record import Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.model.step import Step
from castwork.store.enqueues import NamedTask, Row
from castwork.store.parked import parked_task


class Plan:
    """How calls of a function are enqueued.

    Args:
        task: name of the task function.
        settings: the options of these calls.
        canonical: gives arguments a form in which equal ones are equal, for those of keys.
        parent: id of the task whose code makes the calls; empty for none.
        line: the line in which the tasks stand; empty for none.
        step: the task's place in a flow; None outside of flows.

    Attributes:
        name: the function's name as it stands in entries.
        lane: the lane that tasks go to.
        meta: what each task carries beside its arguments, empty for nothing.
        is_named: whether the tasks' ids do not name their place: ids that the caller chose, and
            ids of tasks with a key, a delay or a line.
        names_moments: whether the plan depends on the time of the call, see `from_now`.
        key: task function, tenant and key; None without a key.
        names_one: whether the calls have an id or a key, so that only one can become a task.
    """

    def __init__(
        self,
        task: str,
        settings: CallSettings,
        canonical: Callable[[bytes], bytes] = lambda args: args,
        parent: str = "",
        line: str = "",
        step: Step | None = None,
    ) -> None:
        self.name = wire_name(task)
        self.lane = settings.priority
        self._task = task
        self.settings = settings
        self._canonical = canonical
        self._parent = parent
        self._line = line
        self._step = step
        self.key = None if settings.key is None else (task, settings.tenant, settings.key)
        self.names_moments = settings.names_moments
        self._meta = None if settings.names_moments else _meta_of(settings, parent, line, step)
        self.meta = encode_meta(self._meta) if self._meta is not None else b""
        named = settings.id is not None or settings.key is not None or settings.delay > 0
        self.is_named = named or bool(line)
        self.names_one = settings.id is not None or settings.key is not None

    @property
    def kind(self) -> tuple[bool, Priority, bool]:
        """What calls that travel together have in common."""
        return self.is_named, self.lane, bool(self.meta)

    def from_now(self) -> Plan:
        """The plan of a call that is enqueued now."""
        return self._with(self.settings.from_now(time.time()))

    def with_key(self, key: str) -> Plan:
        """The plan of a call whose arguments give it a key."""
        return self._with(msgspec.structs.replace(self.settings, key=key))

    def in_line(self, line: str) -> Plan:
        """The plan of a call whose task stands in a line."""
        return Plan(self._task, self.settings, self._canonical, self._parent, line, self._step)

    def _with(self, settings: CallSettings) -> Plan:
        return Plan(self._task, settings, self._canonical, self._parent, self._line, self._step)

    def row(self, calls: list[bytes]) -> Row:
        """Calls of this plan in a row."""
        return Row(self.lane, calls, [self.meta] * len(calls) if self.meta else None)

    def call(self, nonce: str, args: bytes) -> bytes:
        """The field `call` of a task's entry: the function and its arguments."""
        return b"%b %b %b" % (self.name, nonce.encode(), args)

    def add_to(self, row: Row, call: bytes) -> None:
        """Add a call of this plan to a row; `joins` tells whether it fits."""
        row.calls.append(call)
        if row.metas is not None:
            row.metas.append(self.meta)

    def joins(self, row: Row) -> bool:
        """Whether a call of this plan may follow in a row."""
        return row.lane is self.lane and (row.metas is not None) == bool(self.meta)

    def named(self, prefix: str, nonce: str, args: bytes) -> NamedTask:
        """One task with an id that does not name its place; the id begins with `prefix`."""
        settings = self.settings
        task_id = deferred_id(prefix, nonce) if settings.id is None else own_id(prefix, settings.id)
        entry = Entry(self.name, nonce.encode(), args, task_id, 0, self._meta)
        named = NamedTask(task_id, self.lane, entry.call, self.meta, is_serial=bool(self._line))
        if settings.delay > 0:
            queued = encode_record(self._waiting(TaskState.QUEUED))
            named.delay_ms = max(1, int(settings.delay * 1000))
            named.parked = parked_task(entry, self.lane, queued)
            named.record = encode_record(self._waiting(TaskState.SCHEDULED))
        if self.key is not None:
            named.key = self.key
            named.key_ttl_ms = -1 if settings.key_until else int(settings.key_ttl * 1000)
            named.digest = blake2b(self._canonical(args), digest_size=8).hexdigest()
        return named

    def _waiting(self, status: TaskState) -> Record:
        """The record of a task that waits for its time."""
        return with_meta(Record(status, self._task), self._meta)


def _meta_of(settings: CallSettings, parent: str, line: str, step: Step | None) -> Meta | None:
    deadline = settings.deadline
    assert not isinstance(deadline, datetime)  # `from_now` has made seconds of it
    meta = Meta(
        expires_ms=max(1, int(deadline * 1000)) if deadline is not None else 0,
        max_attempts=settings.attempts or 0,
        timeout=settings.timeout or 0.0,
        result_ttl_ms=int((settings.result_ttl or 0.0) * 1000),
        key=settings.key if settings.key is not None and settings.key_until else "",
        key_until=settings.key_until or "",
        owner=settings.owner,
        tenant=settings.tenant,
        labels=dict(settings.labels),
        headers=dict(settings.headers),
        parent=parent,
        serial=line,
        step=step,
        watched=settings.cancel_on_disconnect,
    )
    return None if meta == Meta() else meta
