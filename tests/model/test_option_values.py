"""Values of options: what is kept of them, and what is refused where it is given."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork import Backoff, Retry
from castwork.model.errors import DefinitionError
from castwork.model.option_values import (
    LONGEST,
    count,
    duration,
    patience,
    refuse_unknown,
    seconds,
    text,
)

NO_DURATIONS = [
    "30",
    "",
    None,
    True,
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    -0.001,
    timedelta(seconds=-1),
    LONGEST * 1.01,
    10**400,
    -(10**400),
    timedelta.max,
    Decimal(1),
    1j,
    [1],
]


@pytest.mark.parametrize("given", NO_DURATIONS, ids=lambda value: repr(value)[:20])
def test_what_is_no_duration_is_refused_by_the_name_of_its_option(given: Any) -> None:
    with pytest.raises(DefinitionError, match="^pause is "):
        seconds("pause", given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0, 0.0),
        (-0.0, 0.0),
        (3, 3.0),
        (0.25, 0.25),
        (Fraction(1, 2), 0.5),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        (LONGEST, LONGEST),
    ],
)
def test_numbers_and_timedeltas_are_seconds(given: Any, kept: float) -> None:
    value = seconds("pause", given)

    assert value == kept
    assert type(value) is float


@given(st.timedeltas(timedelta(0), timedelta(days=36_000)))
def test_any_timedelta_is_its_seconds(given: timedelta) -> None:
    assert seconds("pause", given) == given.total_seconds()


def test_a_wait_whose_time_is_past_does_not_wait() -> None:
    assert patience("timeout", None) is None
    assert patience("timeout", -3) == patience("timeout", timedelta(days=-1)) == 0.0
    assert patience("timeout", timedelta(seconds=2)) == 2.0
    for no_wait in ("5", float("nan"), float("inf"), -float("inf")):
        with pytest.raises(DefinitionError, match="^timeout is "):
            patience("timeout", no_wait)  # type: ignore[arg-type]


def test_zero_is_zero_or_refused() -> None:
    assert duration()("delay", 0) == 0.0
    with pytest.raises(DefinitionError, match="^timeout is 0: .*None for no bound"):
        duration(above_zero=True, optional=True)("timeout", 0)
    with pytest.raises(DefinitionError, match="^ttl must be at least 60 seconds"):
        duration(least=60)("ttl", 0)


@pytest.mark.parametrize("given", ["3", 2.5, 0, -1, True, None, 10**20, float("nan")])
def test_a_count_is_a_whole_number(given: Any) -> None:
    with pytest.raises(DefinitionError, match="^attempts is "):
        count()("attempts", given)
    assert count()("attempts", 3) == 3


@pytest.mark.parametrize("given", [3, b"x", None, "\ud800", ""])
def test_a_text_is_text(given: Any) -> None:
    with pytest.raises(DefinitionError, match="^owner is "):
        text(empty=False)("owner", given)
    assert text()("owner", "") == ""


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("atempts", "did you mean 'attempts'"),
        ("retries", "did you mean 'attempts'"),
        ("countdown", "did you mean 'delay'"),
        ("expires", "there are attempts, delay"),
        ("colour", "there are attempts, delay"),
    ],
)
def test_an_unknown_option_is_told_with_the_nearest_one(given: str, hint: str) -> None:
    with pytest.raises(DefinitionError, match=f"a call has no option '{given}'; {hint}"):
        refuse_unknown("a call", [given], ["attempts", "delay"])


# -- where they are given ----------------------------------------------------------------


@pytest.mark.parametrize("given", ["30", float("inf"), float("nan"), -1])
def test_a_retry_says_at_once_that_its_wait_is_none(given: Any) -> None:
    with pytest.raises(DefinitionError, match="^Retry: after is "):
        Retry("busy", after=given)


def test_a_retry_takes_numbers_and_timedeltas() -> None:
    assert Retry(after=timedelta(seconds=1)).after == 1.0
    assert Retry(after=0).after == 0.0
    assert Retry().after is None


@pytest.mark.parametrize(
    "values",
    [
        {"base": "1"},
        {"base": -1},
        {"longest": float("inf")},
        {"longest": float("nan")},
        {"factor": 0.5},
        {"factor": "2"},
        {"factor": float("inf")},
        {"factor": float("nan")},
    ],
)
def test_a_backoff_that_cannot_be_is_refused_where_it_is_made(values: dict[str, Any]) -> None:
    [name] = values
    with pytest.raises(DefinitionError, match=f"^Backoff: {name} is "):
        Backoff(**values)
