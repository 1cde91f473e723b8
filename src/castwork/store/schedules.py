"""Schedules: tasks of one queue that run again and again, and when each is due next."""

from __future__ import annotations

import asyncio
import math
import time
from typing import NamedTuple

import msgspec

from castwork.model.errors import UndecodableEntry
from castwork.model.ids import own_id
from castwork.model.schedules import When, decode_when, encode_when
from castwork.model.states import Priority
from castwork.store.place import QueuePlace
from castwork.store.scripts import FIRE, SCHEDULE, TICKS


class Kept(msgspec.Struct, omit_defaults=True):
    """What is kept of a schedule beside its times.

    Attributes:
        task: name of the task function, as it stands in entries.
        args: the arguments as JSON.
        meta: what each task carries beside its call, as JSON; empty for nothing.
        lane: the lane that the tasks go to.
        declared: the server's seconds when a worker last said that its code declares the schedule;
            0 for a schedule that was made while the program ran.
        since: seconds since 1970 when that worker started: the youngest worker's code counts.
        v: version of the format.
    """

    task: str
    args: str
    meta: str = ""
    lane: str = Priority.NORMAL.value
    declared: float = 0.0
    since: float = 0.0
    v: int = 1


class Scheduled(NamedTuple):
    """A schedule.

    Attributes:
        id: its name.
        when: its times.
        kept: what it runs.
        at: seconds since 1970 of its next run; None while it is paused.
    """

    id: str
    when: When
    kept: Kept
    at: float | None


class Due(NamedTuple):
    """What is due.

    Attributes:
        now: seconds since 1970, by the server's clock.
        following: when the next run comes that is not due; None for none.
        schedules: those that are due.
        malformed: names of those that do not decode.
    """

    now: float
    following: float | None
    schedules: list[Scheduled]
    malformed: list[str]


_decode = msgspec.json.Decoder(Kept).decode


class Schedules:
    """Keeps the schedules of one queue."""

    def __init__(self, place: QueuePlace) -> None:
        self._place = place
        self._names = [place.keys.schedules, place.keys.ticks]

    async def put(self, name: str, when: When, kept: Kept) -> bool:
        """Keep a schedule, in place of what had its name; False if there was one.

        Raises:
            ConnectionFailed: no server in time.
        """
        times = encode_when(when)
        value = b"%b\n%b" % (times, msgspec.json.encode(kept))
        following = when.after(time.time())
        at = "+inf" if following == math.inf else int(following * 1000)
        return bool(await self._place.run(SCHEDULE, self._names, [name, times, value, at]))

    async def due(self, limit: int = 20) -> Due:
        """What is due, some at most, the earliest first."""
        now_ms, next_ms, *rest = await self._place.run(TICKS, self._names, [limit])
        due = Due(now_ms / 1000, next_ms / 1000 if next_ms >= 0 else None, [], [])
        for name, at_ms, value in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            try:
                due.schedules.append(_parse(name.decode(), value, at_ms / 1000))
            except UndecodableEntry:
                due.malformed.append(name.decode(errors="replace"))
        return due

    async def fire(self, one: Scheduled, following: float, *, runs: bool) -> bool:
        """Queue the task of a schedule that is due, once in the fleet; whether this call did.

        Args:
            one: the schedule, as `due` told it.
            following: seconds since 1970 of the next run, infinity for none.
            runs: whether a task is queued, or this run is left out.
        """
        assert one.at is not None
        keys, kept = self._place.keys, one.kept
        at_ms = int(one.at * 1000)
        task_id = own_id(self._place.queue.id_prefix, f"{one.id}.{at_ms}")
        lane = Priority(kept.lane)
        names = [keys.ticks, keys.moved, keys.own[lane], keys.record(task_id)]
        call = f"{kept.task} - {kept.args}"
        next_ms = "" if following == math.inf else int(following * 1000)
        args = [one.id, at_ms, next_ms, int(runs), task_id, kept.lane, call, kept.meta]
        return bool(await self._place.run(FIRE, names, args))

    async def get(self, name: str) -> Scheduled | None:
        """A schedule; None if there is none, or it does not decode."""
        value = await self._place.call("HGET", self._names[0], name)
        try:
            return None if value is None else _parse(name, value, None)
        except UndecodableEntry:
            return None

    async def all(self) -> list[Scheduled]:
        """All schedules that decode, by name."""
        link = await self._place.link()
        found, ticks = await asyncio.gather(
            link.call("HGETALL", self._names[0]),
            link.call("ZRANGE", self._names[1], 0, -1, "WITHSCORES"),
        )
        times = {name: float(at) / 1000 for name, at in ticks}
        schedules = []
        for name, value in sorted(found.items()):
            try:
                schedules.append(_parse(name.decode(), value, times.get(name)))
            except UndecodableEntry:
                continue
        return schedules

    async def remove(self, name: str) -> bool:
        """Forget a schedule; whether there was one."""
        link = await self._place.link()
        removed, _ = await asyncio.gather(
            link.call("HDEL", self._names[0], name), link.call("ZREM", self._names[1], name)
        )
        return bool(removed)

    async def pause(self, name: str) -> None:
        """Let a schedule not run until `resume`."""
        await self._place.call("ZREM", self._names[1], name)

    async def resume(self, name: str, when: When) -> None:
        """Let a schedule run again, at its next time."""
        following = when.after(time.time())
        if following < math.inf:
            await self._place.call("ZADD", self._names[1], "NX", int(following * 1000), name)


def _parse(name: str, value: bytes, at: float | None) -> Scheduled:
    times, _, kept = value.partition(b"\n")
    try:
        return Scheduled(name, decode_when(times), _decode(kept), at)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UndecodableEntry(f"schedule {name} does not decode: {error}") from error
