"""Values of options as users give them: durations, counts, texts; checked where they are given.

Each struct of settings has a table that names the check of each of its options, so that a value is
judged alike whichever door it comes through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from numbers import Real
from typing import Any, Protocol

import msgspec

from castwork.model.errors import DefinitionError

#: How long something lasts, as users write it.
Seconds = float | timedelta

#: Seconds that any duration may have: a hundred years. Beyond it, None says "without a bound".
LONGEST = 36_525 * 86_400.0


class Named(Protocol):
    """What has a name, as a queue that `app.queue` returned."""

    @property
    def name(self) -> str:
        """The name."""


#: Returns the value that is kept of an option's name and given value, or raises DefinitionError.
Check = Callable[[str, Any], Any]

#: What other libraries call an option, for the advice on a name that does not exist.
_ELSEWHERE = {
    "countdown": "delay",
    "defer_by": "delay",
    "eta": "delay",
    "expires": "deadline",
    "idempotency_key": "key",
    "job_id": "id",
    "max_retries": "attempts",
    "max_tries": "attempts",
    "queue_name": "queue",
    "result_expires": "result_ttl",
    "retries": "attempts",
    "retry_backoff": "backoff",
    "task_id": "id",
    "time_limit": "timeout",
    "ttl": "result_ttl",
}


def seconds(name: str, given: object) -> float:
    """A duration in seconds: a number, or a `timedelta`.

    Raises:
        DefinitionError: it is text, NaN, infinite, negative or longer than a hundred years.
    """
    if isinstance(given, timedelta):
        value = given.total_seconds()
    elif isinstance(given, Real) and not isinstance(given, bool):
        try:
            value = float(given)
        except OverflowError:
            value = math.inf
    else:
        raise DefinitionError(f"{name} is {given!r:.60}: give seconds as a number, or a timedelta")
    if not 0 <= value <= LONGEST:
        raise DefinitionError(
            f"{name} is {given!r:.60}: a duration is between 0 seconds and a hundred years"
        )
    return value


def patience(name: str, given: Seconds | None) -> float | None:
    """Seconds that a call waits; None waits without a bound, and a time that is past not at all.

    Raises:
        DefinitionError: it is text, NaN or infinite.
    """
    if given is None:
        return None
    if isinstance(given, timedelta):
        given = given.total_seconds()
    past = isinstance(given, Real) and -LONGEST <= given < 0
    return 0.0 if past else seconds(name, given)


def duration(*, least: float = 0.0, above_zero: bool = False, optional: bool = False) -> Check:
    """The check of a duration; it keeps seconds."""

    def check(name: str, given: Any) -> float | None:
        if given is None and optional:
            return None
        value = seconds(name, given)
        if value < least:
            unit = "second" if least == 1 else "seconds"
            raise DefinitionError(f"{name} must be at least {least:g} {unit}")
        if value == 0 and above_zero:
            other = ", or None for no bound" if optional else ""
            raise DefinitionError(f"{name} is 0: it must be longer{other}")
        return value

    return check


def moment(name: str, given: Any) -> datetime | None:
    """The check of a point in time; None stays None.

    Raises:
        DefinitionError: it is no `datetime`, or has no time zone.
    """
    if given is None:
        return None
    if not isinstance(given, datetime) or given.utcoffset() is None:
        raise DefinitionError(
            f"{name} is {given!r:.60}: give a datetime with a time zone, as datetime.now(UTC)"
        )
    return given


def duration_or_moment(*, above_zero: bool = False, optional: bool = False) -> Check:
    """The check of a duration, or of the point in time at which it ends."""
    check = duration(above_zero=above_zero, optional=optional)
    return lambda name, given: (moment if isinstance(given, datetime) else check)(name, given)


def choice(*values: str, optional: bool = False) -> Check:
    """The check of a word of a few; it keeps the word."""

    def check(name: str, given: Any) -> Any:
        if given is None and optional:
            return None
        if given not in values:
            raise DefinitionError(f"{name} is {given!r:.60}: use {_either(values)}")
        return given

    return check


def _either(values: Iterable[str]) -> str:
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last


def count(*, least: int = 1, optional: bool = False) -> Check:
    """The check of a whole number."""

    def check(name: str, given: Any) -> int | None:
        if given is None and optional:
            return None
        if not isinstance(given, int) or isinstance(given, bool):
            raise DefinitionError(f"{name} is {given!r:.60}: give a whole number")
        if not least <= given <= 2**53:
            raise DefinitionError(f"{name} is {given!r:.60}: it must be at least {least}")
        return given

    return check


def above_zero(name: str, given: object, unit: str) -> float:
    """A number above 0, as of things per second.

    Raises:
        DefinitionError: it is text, NaN, infinite, 0 or less.
    """
    try:
        value = float(given) if isinstance(given, Real) and not isinstance(given, bool) else 0.0
    except OverflowError:
        value = math.inf
    if not 0 < value < math.inf:
        raise DefinitionError(f"{name} is {given!r:.60}: give {unit}, above 0")
    return value


def flag(name: str, given: bool) -> bool:
    """The check of what is so or not."""
    if not isinstance(given, bool):
        raise DefinitionError(f"{name} is True or False, not {given!r:.60}")
    return given


def text(*, empty: bool = True, optional: bool = False) -> Check:
    """The check of a text."""

    def check(name: str, given: Any) -> str | None:
        if given is None and optional:
            return None
        if not isinstance(given, str):
            raise DefinitionError(f"{name} is {given!r:.60}: give text")
        if not (given or empty):
            raise DefinitionError(f"{name} is empty")
        try:
            given.encode()
        except UnicodeEncodeError:
            raise DefinitionError(f"{name} is {given!r:.60}: this text is no UTF-8") from None
        return given

    return check


def queue_name(*, optional: bool = False) -> Check:
    """The check of a queue: its name, or the object that `app.queue` returned."""
    check = text(empty=False, optional=optional)

    def named(name: str, given: Any) -> str | None:
        kept: str | None = check(name, given if given is None else getattr(given, "name", given))
        return kept

    return named


def instance(kind: type) -> Check:
    """The check of a value that must be of a class."""

    def check(name: str, given: Any) -> Any:
        if not isinstance(given, kind):
            raise DefinitionError(f"{name} is {given!r:.60}: give a {kind.__name__}")
        return given

    return check


def settle(settings: msgspec.Struct, checks: Mapping[str, Check], *, of: str = "") -> None:
    """Check the fields of settings that have just been made, and keep what the checks return.

    Raises:
        DefinitionError: a value cannot be; its option is named, with `of` in front.
    """
    for name, check in checks.items():
        given = getattr(settings, name)
        kept = check(f"{of}{name}", given)
        if kept is not given:
            msgspec.structs.force_setattr(settings, name, kept)


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that do not exist.

    Raises:
        DefinitionError: there is one; the error names the option that looks most like it.
    """
    names = list(known)
    for name in given:
        if name not in names:
            near = _ELSEWHERE.get(name, "")
            from difflib import get_close_matches  # noqa: PLC0415 - needed for an error only

            close = [near] if near in names else get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            raise DefinitionError(f"{what} has no option {name!r}; {hint}")
