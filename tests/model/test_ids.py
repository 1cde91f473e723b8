from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork.model.errors import DefinitionError
from castwork.model.ids import (
    DIGITS,
    MadeId,
    PlaceNames,
    deferred_id,
    is_nonce,
    lane_suffix,
    new_digits,
    new_id,
    new_producer,
    own_id,
    parse_made_id,
    process_id,
    producer_of,
)
from castwork.model.position import Position
from castwork.model.states import Priority

NONCE = "9OEVNDG6K9ABAM"

#: What a server gives as ids of entries for some centuries.
entries = st.builds(Position, st.integers(0, 2**45 - 1), st.integers(0, 2**30 - 1))


def made(entry: Position, lane: Priority = Priority.NORMAL, queue: str = "inference") -> str:
    return f"{queue}-{PlaceNames().name(str(entry).encode())}{lane_suffix(lane)}{NONCE}"


def test_the_documented_id_is_read_as_documented() -> None:
    read = parse_made_id("inference-1K8AM2RQI000003N009OEVNDG6K9ABAM")

    entry = Position(1795655036754, 3)
    assert read == MadeId(entry, Priority.NORMAL, "9OEVND", NONCE)
    assert made(entry) == "inference-1K8AM2RQI000003N009OEVNDG6K9ABAM"


@given(entry=entries, lane=st.sampled_from(Priority))
def test_a_made_id_names_its_entry_lane_and_producer(entry: Position, lane: Priority) -> None:
    task_id = made(entry, lane)
    digits = task_id.removeprefix("inference-")

    assert len(digits) == 32
    assert set(digits) <= set(DIGITS)
    assert (int(digits[:9], 32), int(digits[9:15], 32)) == entry
    assert parse_made_id(task_id) == MadeId(entry, lane, NONCE[:6], NONCE)
    assert producer_of(task_id) == NONCE[:6]


@given(one=entries, other=entries)
def test_made_ids_sort_as_their_entries(one: Position, other: Position) -> None:
    assert (made(one) < made(other)) == (one < other)


@given(st.lists(entries, max_size=20))
def test_places_are_named_alike_in_any_order(some: list[Position]) -> None:
    names = PlaceNames()

    assert [names.name(str(one).encode()) for one in some] == [
        PlaceNames().name(str(one).encode()) for one in some
    ]


@given(queue=st.sampled_from(["q", "with-dashes", "a.b", "Q-1K8AM2RQI000003N009OEVNDG6K9ABAM"]))
def test_queues_of_any_name_may_stand_before_it(queue: str) -> None:
    read = parse_made_id(made(Position(1, 2), queue=queue))

    assert read is not None
    assert read.entry == (1, 2)


def test_deferred_ids_name_no_entry_and_sort_by_time() -> None:
    ids = [deferred_id("q", new_producer() + new_digits()) for _ in range(10_000)]

    assert len(set(ids)) == len(ids)
    assert [one[:17] for one in ids] == sorted(one[:17] for one in ids)
    for task_id in ids[:100]:
        read = parse_made_id(task_id)
        assert read is not None
        assert read.entry is None
        assert (read.producer, read.nonce) == (task_id[-14:-8], task_id[-14:])
        assert producer_of(task_id) == read.producer


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        "-",
        "nonsense",
        "orders:billing:1764000000000-0",
        "q:run-7",
        "q-1K8AM2RQI000003N009OEVNDG6K9ABA",  # a digit too few
        "q1K8AM2RQI000003N009OEVNDG6K9ABAM",  # no dash
        "q-1k8am2rqi000003n009oevndg6k9abam",
        "q-1K8AM2RQI000003X009OEVNDG6K9ABAM",  # no such lane
        "q-1K8AM2RQI000003N009OEVNDG6K9ABAM\n",
        "q-1K8AM2RQI000003N009OEVNDG6K9ABAW",  # no such digit
    ],
)
def test_other_ids_are_no_made_ones(task_id: str) -> None:
    assert parse_made_id(task_id) is None
    assert producer_of(task_id) == ""


@given(st.text())
def test_any_text_is_a_made_id_or_not(text: str) -> None:
    read = parse_made_id(text)

    assert producer_of(text) == ("" if read is None else read.producer)


# -- the caller's own --------------------------------------------------------------------


@pytest.mark.parametrize("text", ["run-7", "a", "-", "~", "A_b.c~d-9", "x" * 128, "0" * 32])
def test_own_ids_may_be_letters_digits_and_marks(text: str) -> None:
    assert own_id("q", text) == f"q:{text}"
    assert parse_made_id(own_id("q", text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 129,
        "a b",
        "a:b",
        "a/b",
        "{a}",
        "a*",
        "a\n",
        "ü",
        "٣",  # a digit, elsewhere
        "\ud800",
        "1K8AM2RQI000003N009OEVNDG6K9ABAM",
        "run-1K8AM2RQI000003N009OEVNDG6K9ABAM",
        "run-1K8AM2RQI000003D009OEVNDG6K9ABAM",
        "run-1K8AM2RQI000003N00",
    ],
)
def test_own_ids_of_other_text_are_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="not a task id"):
        own_id("q", text)


@given(text=st.from_regex(r"[A-Za-z0-9_.~-]{1,128}", fullmatch=True))
def test_own_ids_are_never_taken_for_made_ones(text: str) -> None:
    try:
        task_id = own_id("q", text)
    except DefinitionError:
        is_entry_id = text.replace("-", "", 1).isdigit()
        assert is_entry_id or parse_made_id(f"q-{text}") is not None
    else:
        assert parse_made_id(task_id) is None


# -- digits ------------------------------------------------------------------------------


def test_digits_are_unique_and_of_the_alphabet() -> None:
    drawn = [new_digits() for _ in range(20_000)]

    assert len(set(drawn)) == len(drawn)
    assert {len(one) for one in drawn} == {8}
    assert set("".join(drawn)) == set(DIGITS)
    assert len(new_id()) == 16
    assert len(new_producer()) == 6


@pytest.mark.parametrize(
    ("digits", "answer"),
    [
        (b"9OEVNDG6K9ABAM", True),
        (b"00000000000000", True),
        (b"VVVVVVVVVVVVVV", True),
        (b"9OEVNDG6K9ABA", False),
        (b"9OEVNDG6K9ABAMM", False),
        (b"9OEVNDG6K9ABAW", False),
        (b"9oevndg6k9abam", False),
        (b"9OEVNDG6K9ABA ", False),
        (b"9OEVNDG6K9AB\xff\xff", False),
        (b"", False),
        (b"-", False),
    ],
)
def test_a_nonce_is_fourteen_digits(digits: bytes, answer: bool) -> None:
    assert is_nonce(digits) is answer


def test_lanes_have_letters_and_partitions_two_digits() -> None:
    assert [lane_suffix(lane) for lane in Priority] == ["H00", "N00", "L00"]
    assert lane_suffix(Priority.LOW, 33) == "L11"


def test_ids_of_processes_are_never_the_same() -> None:
    assert process_id("host").startswith(f"host-{os.getpid()}-")
    assert process_id("host") != process_id("host")


@pytest.mark.parametrize("draw", [new_digits, new_id, lambda: deferred_id("q", new_id()[:14])])
def test_a_forked_child_does_not_repeat_its_parents_digits(draw: Callable[[], str]) -> None:
    draw()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, draw().encode())
        os._exit(0)
    ours = draw()
    os.waitpid(child, 0)
    theirs = os.read(read_end, 100).decode()
    os.close(read_end)
    os.close(write_end)

    assert len(theirs) == len(ours)
    assert theirs[-8:] != ours[-8:], "the random part must differ, not only a counter"
