"""Values on their way to JSON: what JSON cannot carry as it is has one error, which says where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork.model.codec import decode_any, encode_value
from castwork.model.errors import CastworkError, NoJsonForm


@dataclass
class Metrics:
    name: str
    losses: list[float]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Breaks:
    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "$"),
        (math.inf, "$"),
        ({"loss": -math.inf}, "$.loss"),
        ({"a": [None, 1.0, (2.0, math.nan)]}, "$.a[2][1]"),
        (Metrics("m", [0.1, math.nan]), "$.losses[1]"),
        ({"metrics": Metrics("m", [math.inf]), "n": 10**30}, "$.metrics.losses[0]"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_with_their_path(value: Any, path: str) -> None:
    with pytest.raises(NoJsonForm) as caught:
        encode_value(value)

    assert caught.value.path == path
    assert f"`{path}`" in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@given(value=json_values)
def test_a_value_comes_back_as_it_was_or_is_refused(value: Any) -> None:
    try:
        raw = encode_value(value)
    except NoJsonForm:
        assert "nan" in repr(value) or "inf" in repr(value)
    else:
        assert decode_any(raw) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        [None, "null", {"null": None}],
        b"\xcb\x7f\xff null",
        {"at": datetime(2026, 1, 1, tzinfo=UTC), "none": None, "cost": Decimal("NaN")},
        msgspec.Raw(b"null"),
    ],
)
def test_nothing_is_no_number(value: Any) -> None:
    encode_value(value)


@pytest.mark.parametrize(
    "value",
    ["\ud800", {"a": ["\udfff"]}, {(1, 2): 3}, 1j, object(), nested(5000)],
    ids=lambda value: type(value).__name__,
)
def test_whatever_cannot_be_json_has_one_error(value: Any) -> None:
    with pytest.raises(NoJsonForm) as caught:
        encode_value(value)

    assert isinstance(caught.value, CastworkError)
    assert "\n" not in str(caught.value)


def test_a_class_that_cannot_be_looked_at_has_no_json_form() -> None:
    with pytest.raises(NoJsonForm):
        encode_value([Breaks()])
