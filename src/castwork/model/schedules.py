"""When a task runs again and again: by the lines of cron, or every so many seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

import msgspec

from castwork.model.errors import DefinitionError, UndecodableEntry
from castwork.model.option_values import Seconds, choice, seconds

#: What becomes of runs whose time passed while no worker was there: none of them is made up for,
#: one is for all, or each.
Missed = Literal["skip", "once", "all"]

_missed = choice("skip", "once", "all")

#: Seconds by which a run may be late and is not counted as missed.
_LATE = 60.0


class _Line(msgspec.Struct, frozen=True):
    """What is given by position."""

    line: str


class Cron(_Line, frozen=True, kw_only=True, tag="cron"):
    """Runs at the times of a crontab line, in a time zone.

    A time that the change to summer time skips runs at the next minute that there is; a time that
    comes twice when summer time ends runs once, but for lines with `*` or steps in their hours.

    Args:
        line: the five fields minute, hour, day of the month, month and day of the week, as in
            `0 3 * * 1-5`; six, with seconds in front, are taken too.
        timezone: name of the zone, as `Europe/Berlin` or `UTC`.
        missed: what becomes of runs whose time passed while no worker was there.

    Raises:
        DefinitionError: the line or the zone cannot be read.
        ModuleNotFoundError: the parser is missing: `pip install 'castwork[cron]'`.
    """

    timezone: str
    missed: Missed = "once"

    def __post_init__(self) -> None:
        _missed("Cron: missed", self.missed)
        _times(self.line, datetime.now(_zone(self.timezone)))

    def after(self, moment: float) -> float:
        """The first time behind a moment, both in seconds since 1970; infinity for none."""
        zone = _zone(self.timezone)
        at = datetime.fromtimestamp(moment, UTC).astimezone(zone)
        found = next(_times(self.line, at), None)
        while found is not None and found.timestamp() <= moment:  # the hour that comes twice
            at = datetime.fromtimestamp(moment + 3600, UTC).astimezone(zone)
            found = next(_times(self.line, at), None)
        return math.inf if found is None else float(found.timestamp())


class _Seconds(msgspec.Struct, frozen=True):
    """What is given by position."""

    seconds: Seconds


class Every(_Seconds, frozen=True, kw_only=True, tag="every"):
    """Runs every so many seconds, at multiples of them since 1970.

    Args:
        seconds: a number of seconds, or a `timedelta`; one at least, to the millisecond.
        missed: what becomes of runs whose time passed while no worker was there.

    Raises:
        DefinitionError: that is no such duration.
    """

    missed: Missed = "skip"

    def __post_init__(self) -> None:
        _missed("Every: missed", self.missed)
        value = seconds("Every: seconds", self.seconds)
        if value < 1:
            raise DefinitionError(f"Every: seconds is {self.seconds!r:.60}: it must be at least 1")
        msgspec.structs.force_setattr(self, "seconds", value)

    def after(self, moment: float) -> float:
        """The first time behind a moment, both in seconds since 1970."""
        # Whole milliseconds, as which the server keeps the times: a multiple of 1.1 s that lost a
        # part of a millisecond there would be taken for the moment before itself, and come again.
        length_ms = round(float(self.seconds) * 1000)  # type: ignore[arg-type] # a number by now
        return (round(moment * 1000) // length_ms + 1) * length_ms / 1000


When = Cron | Every


def runs_due(when: When, due: float, now: float) -> tuple[bool, float]:
    """What to do about a run whose time has come.

    Args:
        when: the schedule's times.
        due: the time of the run.
        now: the time now, at or behind `due`.

    Returns:
        Whether it runs, and the time of the next run.
    """
    following = when.after(due)
    is_missed = following <= now or now - due > _LATE
    if not is_missed or when.missed == "all":
        return True, following
    return when.missed == "once", when.after(now)


def encode_when(when: When) -> bytes:
    """The times as JSON."""
    return msgspec.json.encode(when)


def decode_when(raw: bytes) -> When:
    """The times of JSON.

    Raises:
        UndecodableEntry: the bytes say no times.
    """
    try:
        plain: Any = msgspec.json.decode(raw)
        kind = plain.pop("type")
        if kind == "cron":
            return Cron(plain.pop("line"), **plain)
        if kind == "every":
            return Every(plain.pop("seconds"), **plain)
    except (
        msgspec.MsgspecError,
        DefinitionError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise UndecodableEntry(f"no times of a schedule: {raw[:100]!r}: {error}") from error
    raise UndecodableEntry(f"no times of a schedule: {raw[:100]!r}")


def _zone(name: str) -> tzinfo:
    """The zone of a name; raises DefinitionError."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - few programs need it

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise DefinitionError(
            f"Cron: there is no time zone {name!r:.60}: give a name such as Europe/Berlin"
        ) from None


def _times(line: str, at: datetime) -> Any:
    """The times of a line behind a moment."""
    try:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Cron needs a parser: run `pip install 'castwork[cron]'`", name=error.name
        ) from None
    try:
        return CronSim(line, at)
    except (CronSimError, AttributeError, TypeError) as error:
        raise DefinitionError(f"Cron: {line!r:.60} is no line of cron: {error}") from None
