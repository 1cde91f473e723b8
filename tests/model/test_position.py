from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork.model.errors import UndecodableEntry
from castwork.model.position import START, Position

numbers = st.integers(0, 2**64 - 1)


@given(major=numbers, minor=numbers)
def test_a_position_is_read_as_it_was_written(major: int, minor: int) -> None:
    position = Position(major, minor)

    assert Position.parse(str(position)) == position
    assert Position.parse(str(position).encode()) == position


@given(one=st.builds(Position, numbers, numbers), other=st.builds(Position, numbers, numbers))
def test_positions_are_ordered_by_both_numbers(one: Position, other: Position) -> None:
    assert (one < other) == ((one.major, one.minor) < (other.major, other.minor))
    assert one >= START


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "1", "1-", "-1", "1-2-3", "1--2", "+1-2", "1-+2", " 1-2", "1-2 ", "1_0-2"),
        *("a-b", "0x1-2", "1.0-2", "*", "$", ">", "1-*", "18446744073709551616-0", "9" * 5000),
        *("\u0661-\u0662", "1-\u00b2", "1-2\n"),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(UndecodableEntry, match="not a position"):
        Position.parse(text)
    with pytest.raises(UndecodableEntry):
        Position.parse(text.encode())


@given(raw=st.binary() | st.text())
def test_anything_is_a_position_or_refused(raw: bytes | str) -> None:
    with contextlib.suppress(UndecodableEntry):
        assert Position.parse(raw) >= START


@pytest.mark.parametrize("text", [None, "", "0", "0-0"])
def test_readers_may_leave_the_beginning_out(text: str | None) -> None:
    assert Position.parse_or_start(text) == START


def test_readers_may_name_a_position() -> None:
    assert Position.parse_or_start("1764000000000-7") == Position(1764000000000, 7)
    with pytest.raises(UndecodableEntry):
        Position.parse_or_start("7")
