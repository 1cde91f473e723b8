"""Schedules: tasks of one queue that run again and again, and when each is due next."""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

import msgspec

from castwork.model.errors import DefinitionError, UndecodableEntry
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
        since: the server's seconds when that worker first said so: the youngest worker's code
            counts.
        v: version of the format.
    """

    task: str
    args: str
    meta: str = ""
    lane: Priority = Priority.NORMAL
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
        malformed: per name of those that cannot be fired here, why.
    """

    now: float
    following: float | None
    schedules: list[Scheduled]
    malformed: dict[str, str]


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
        following = when.after(await self.now())
        at = "+inf" if following == math.inf else _ms(following)
        return bool(await self._place.run(SCHEDULE, self._names, [name, times, value, at]))

    async def now(self) -> float:
        """Seconds since 1970 by the server's clock, which all workers share."""
        seconds, microseconds = await self._place.call("TIME")
        return int(seconds) + int(microseconds) / 1e6

    async def due(self, limit: int = 20) -> Due:
        """What is due, some at most, the earliest first.

        Those that do not decode, or whose times this process cannot read, stay due and count.
        """
        now_ms, next_ms, *rest = await self._place.run(TICKS, self._names, [limit])
        due = Due(now_ms / 1000, next_ms / 1000 if next_ms >= 0 else None, [], {})
        for name, at_ms, value in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            try:
                due.schedules.append(_parse(name, value, at_ms / 1000))
            except (UndecodableEntry, ModuleNotFoundError) as error:  # as without castwork[cron]
                due.malformed[name.decode(errors="replace")] = str(error)
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
        at_ms = _ms(one.at)
        task_id = own_id(self._place.queue.id_prefix, f"{one.id}.{at_ms}")
        names = [keys.ticks, keys.moved, keys.own[kept.lane], keys.record(task_id)]
        call = f"{kept.task} - {kept.args}"
        next_ms = "" if following == math.inf else _ms(following)
        args = [one.id, at_ms, next_ms, int(runs), task_id, kept.lane.value, call, kept.meta]
        return bool(await self._place.run(FIRE, names, args))

    async def get(self, name: str) -> Scheduled | None:
        """A schedule; None if there is none, or it does not decode."""
        value = await self._place.call("HGET", self._names[0], name)
        try:
            return None if value is None else _parse(name.encode(), value, None)
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
                schedules.append(_parse(name, value, times.get(name)))
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

    async def resume(self, name: str, when: When) -> float | None:
        """Let a schedule run again; seconds since 1970 of its next time, None where none comes."""
        following = when.after(await self.now())
        if following == math.inf:
            return None
        await self._place.call("ZADD", self._names[1], "NX", _ms(following), name)
        return following


def _ms(seconds: float) -> int:
    """Seconds as the milliseconds that are kept: rounded, as they come back as seconds."""
    return round(seconds * 1000)


def _parse(raw_name: bytes, value: bytes, at: float | None) -> Scheduled:
    """Read a schedule. Raises UndecodableEntry, also where its tasks could have no id."""
    times, _, kept = value.partition(b"\n")
    try:
        name = raw_name.decode()
        own_id("", f"{name}.{'0' * 13}")
        return Scheduled(name, decode_when(times), _decode(kept), at)
    except (msgspec.MsgspecError, DefinitionError, ValueError, RecursionError) as error:
        said = f"schedule {raw_name[:100]!r} does not decode: {error}"
        raise UndecodableEntry(said) from error
