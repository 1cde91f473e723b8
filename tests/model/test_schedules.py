"""When schedules run: lines of cron in time zones, and every so many seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork import Cron, Every
from castwork.model.errors import DefinitionError, UndecodableEntry
from castwork.model.schedules import When, decode_when, encode_when, runs_due

BERLIN = ZoneInfo("Europe/Berlin")


def after(when: When, moment: datetime, count: int) -> list[str]:
    at, found = moment.timestamp(), []
    for _ in range(count):
        at = when.after(at)
        found.append(datetime.fromtimestamp(at, UTC).astimezone(moment.tzinfo).isoformat())
    return found


def test_a_time_that_summer_skips_runs_at_the_next_minute_there_is() -> None:
    when = Cron("30 2 * * *", timezone="Europe/Berlin")
    assert after(when, datetime(2026, 3, 28, 12, tzinfo=BERLIN), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_that_comes_twice_runs_once() -> None:
    when = Cron("30 2 * * *", timezone="Europe/Berlin")
    assert after(when, datetime(2026, 10, 24, 12, tzinfo=BERLIN), 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_steps_go_on_through_the_hour_that_comes_twice() -> None:
    when = Cron("*/30 * * * *", timezone="Europe/Berlin")
    assert after(when, datetime(2026, 10, 25, 1, 45, tzinfo=BERLIN), 5) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


@pytest.mark.parametrize("line", ["30 2 * * *", "*/7 * * * *", "15 1-3 * * *", "0 0 29 2 *"])
@given(st.integers(1_700_000_000, 1_900_000_000))
def test_the_next_time_is_always_behind(line: str, moment: int) -> None:
    when = Cron(line, timezone="America/New_York")
    following = when.after(moment)
    assert following > moment
    assert following == math.inf or when.after(following - 0.5) <= following


@given(st.integers(0, 2_000_000_000), st.floats(1, 100_000))
def test_every_is_anchored_at_multiples(moment: int, seconds: float) -> None:
    following = Every(seconds).after(moment)
    assert moment < following <= moment + seconds + 1e-3
    assert Every(300).after(moment) % 300 == 0


@given(st.integers(0, 10**9), st.integers(1000, 100_000))
def test_times_that_are_kept_as_milliseconds_follow_one_another(number: int, length: int) -> None:
    when, at_ms = Every(length / 1000), number * length
    following = when.after(at_ms / 1000)
    assert round(following * 1000) == at_ms + length
    assert runs_due(when, at_ms / 1000, at_ms / 1000) == (True, following)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cron("61 * * * *", timezone="UTC"),
        lambda: Cron("nonsense", timezone="UTC"),
        lambda: Cron(7, timezone="UTC"),  # type: ignore[arg-type]
        lambda: Cron("0 3 * * *", timezone="Mars/Phobos"),
        lambda: Cron("0 3 * * *", timezone=""),
        lambda: Cron("0 3 * * *", timezone="UTC", missed="maybe"),  # type: ignore[arg-type]
        lambda: Every(0),
        lambda: Every(0.5),
        lambda: Every("300"),  # type: ignore[arg-type]
        lambda: Every(float("nan")),
    ],
)
def test_what_cannot_be_is_refused(make: Any) -> None:
    with pytest.raises(DefinitionError):
        make()


def test_it_reads_back_what_it_wrote() -> None:
    for when in (
        Cron("0 3 * * *", timezone="Europe/Berlin", missed="all"),
        Every(timedelta(minutes=5), missed="once"),
    ):
        assert decode_when(encode_when(when)) == when
    for raw in (b"", b"[]", b"7", b"{}", b'{"type":"moon"}', b'{"type":"every","seconds":"x"}'):
        with pytest.raises(UndecodableEntry):
            decode_when(raw)


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        ("skip", 5, (True, 600)),
        ("skip", 61, (False, 600)),
        ("skip", 700, (False, 1200)),
        ("once", 61, (True, 600)),
        ("once", 700, (True, 1200)),
        ("all", 700, (True, 600)),
    ],
)
def test_a_late_run_is_as_the_policy_says(
    missed: Any, late: float, expected: tuple[bool, float]
) -> None:
    assert runs_due(Every(300, missed=missed), 300, 300 + late) == expected
