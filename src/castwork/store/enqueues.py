"""Enqueues: how tasks get into a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from castwork.model.ids import parse_made_id
from castwork.model.states import Priority
from castwork.store.numbered import NumberedCalls
from castwork.store.place import QueuePlace
from castwork.store.scripts import ENQUEUE, ENQUEUE_NAMED, FREE_KEY, REPLACE

_LANES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


class Row(msgspec.Struct):
    """Tasks of one lane that are enqueued in a row.

    Attributes:
        lane: the lane that they go to.
        calls: per task the field `call` of its entry: the function and its arguments.
        metas: per task what it carries beside its call; None where no task carries anything.
    """

    lane: Priority
    calls: list[bytes]
    metas: list[bytes] | None = None


class Taken(msgspec.Struct):
    """What the server took of a row.

    Attributes:
        entries: ids of the entries, in order; fewer than calls when the queue was full.
        depth: tasks in the queue when it was full; None when the whole row was taken.
    """

    entries: list[bytes]
    depth: int | None = None


class NamedTask(msgspec.Struct):
    """A task whose id does not name its place.

    Attributes:
        id: the task id.
        lane: the lane that it goes to.
        call: the field `call` of its entry: the function and its arguments.
        meta: what the task carries beside its call, empty for nothing.
        delay_ms: milliseconds that the task is parked first, 0 for none.
        parked: the parked task as `parked_task` encodes it; empty without a delay.
        record: the record of the parked task; empty without a delay.
        key: task function, tenant and key; None without a key.
        key_ttl_ms: milliseconds that the key is remembered, -1 until it is freed.
        is_serial: whether its meta names a line, in which one task runs at a time.
        digest: of the arguments, so that a second enqueue with the key knows others.
    """

    id: str
    lane: Priority
    call: bytes
    meta: bytes = b""
    delay_ms: int = 0
    parked: bytes = b""
    record: bytes = b""
    key: tuple[str, str, str] | None = None
    key_ttl_ms: int = 0
    digest: str = ""
    is_serial: bool = False


class Named(NamedTuple):
    """What became of a task whose id does not name its place.

    Attributes:
        id: the task that is there now.
        created: whether this call added it.
        differs: whether it has the key, and was enqueued with other arguments.
    """

    id: str
    created: bool
    differs: bool = False


class Enqueues:
    """Enqueues tasks of one queue.

    A call that is sent again, as its reply was lost, adds nothing and gets the first answer.
    """

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._calls = NumberedCalls()
        self._settings = place.queue.settings
        own = place.keys.own
        self._lanes = [own[lane] for lane in _LANES]

    async def enqueue(self, rows: Sequence[Row], *, whole: bool = False) -> list[Taken]:
        """Queue tasks, and return the ids of their entries.

        Args:
            rows: the tasks.
            whole: take each row whole or not at all; else as many of its tasks as fit.

        Raises:
            ConnectionFailed: no server in time; `EffectUnknown` when the reply was lost.
        """
        async with self._calls.next() as (slot, number):
            args: list[Any] = [slot, number, self._settings.max_depth, int(whole)]
            lanes, names = self._lanes_of(rows)
            for row in rows:
                args += (lanes.index(row.lane) + 1, 1 if row.metas is None else 2, len(row.calls))
                if row.metas is None:
                    args += row.calls
                else:
                    for pair in zip(row.calls, row.metas, strict=True):
                        args += pair
            reply = await self._place.run(ENQUEUE, names, args)
        return [_parse_word(word) for word in reply.split(b" ")]

    def _lanes_of(self, rows: Sequence[Row]) -> tuple[Sequence[Priority], list[str]]:
        """The lanes that a call needs, and its keys: all where they are counted, mostly one else.

        Each key costs the server about as much as a task.
        """
        lanes: Sequence[Priority] = _LANES
        if not self._settings.max_depth:
            lanes = [rows[0].lane] if len(rows) == 1 else list({row.lane: 0 for row in rows})
        keys = self._place.keys
        names = [keys.sent, *(keys.own[lane] for lane in lanes)]
        return lanes, [*names, keys.waiters] if self._settings.max_depth else names

    async def enqueue_named(self, tasks: Sequence[NamedTask]) -> list[Named | int]:
        """Queue or park tasks.

        Returns:
            Per task what became of it; where the queue is full, its depth.

        Raises:
            ConnectionFailed: as `enqueue`.
        """
        keys = self._place.keys
        names = [keys.sent, keys.moved, keys.parked, keys.due, *self._lanes]
        async with self._calls.next() as (slot, number):
            args: list[Any] = [slot, number, self._settings.max_depth]
            for task in tasks:
                names.append(keys.record(task.id))
                if task.key is not None:
                    names.append(keys.key(*task.key))
                args += (task.id, task.lane.value, task.call, task.meta)
                args += (task.delay_ms, task.parked, task.record, task.key_ttl_ms, task.digest)
            if self._settings.max_depth:
                names.append(keys.waiters)
            if any(task.is_serial for task in tasks):
                names += (keys.turns, keys.lines)
            reply: bytes = await self._place.run(ENQUEUE_NAMED, names, args)
        lines = zip(tasks, reply.split(b"\n"), strict=True)
        return [_parse_line(task.id, line) for task, line in lines]

    async def replace(self, holder: str, task: NamedTask, delay_ms: int | None) -> bool:
        """Give the task that has a key the arguments of another call, while it waits.

        Args:
            holder: the task that has the key.
            task: the call; its own id is of no account.
            delay_ms: milliseconds until the holder is due, if it waits for a time; None to leave
                that as it is.

        Returns:
            Whether that was done; False if the holder runs or has ended, or has lost the key.
        """
        keys = self._place.keys
        assert task.key is not None
        names = [keys.moved, keys.parked, keys.due, *self._lanes, keys.key(*task.key), keys.held]
        made = parse_made_id(holder)
        name, _, args = task.call.split(b" ", 2)
        call = b"%b %b %b" % (name, made.nonce.encode() if made is not None else b"-", args)
        value = f"{holder} {task.digest}"
        due = "" if delay_ms is None else delay_ms
        return bool(
            await self._place.run(
                REPLACE, names, [holder, call, self._place.queue.group, value, due]
            )
        )

    async def free_key(self, key: tuple[str, str, str], holder: str) -> bool:
        """Free a key: task function, tenant and key; False if another task has it."""
        return bool(await self._place.run(FREE_KEY, [self._place.keys.key(*key)], [holder]))


def _parse_line(task_id: str, line: bytes) -> Named | int:
    if line[:1] == b"!":
        return int(line[1:])
    if line == b"+":
        return Named(task_id, True)
    return Named(line[1:].decode(), False, line[:1] == b"~")


def _parse_word(word: bytes) -> Taken:
    taken, _, depth = word.partition(b"!")
    return Taken(_parse_entries(taken), int(depth) if depth else None)


def _parse_entries(taken: bytes) -> list[bytes]:
    if not taken:
        return []
    first, slash, count = taken.partition(b"/")
    if not slash:
        return taken.split(b",")
    if count == b"1":
        return [first]
    ms, _, start = first.partition(b"-")
    begin = int(start)
    return [b"%b-%d" % (ms, begin + i) for i in range(int(count))]
