from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork.model.entry import Entry, Meta, parse_entry, plain_fields
from castwork.model.errors import UndecodableEntry
from castwork.model.record import ErrorInfo, Record, decode_record, encode_record
from castwork.model.states import TaskState


def wire(entry: Entry) -> list[bytes]:
    return [f if isinstance(f, bytes) else f.encode() for f in entry.fields()]


@given(
    task=st.text(min_size=1),
    task_id=st.text(),
    args=st.binary(),
    meta=st.none() | st.builds(Meta, attempts=st.integers(0, 9), timeout=st.floats(0, 99)),
)
def test_an_entry_is_read_as_it_was_written(
    task: str, task_id: str, args: bytes, meta: Meta | None
) -> None:
    entry = Entry(task, task_id, args, meta)

    assert parse_entry(wire(entry)) == entry


def test_the_order_of_fields_does_not_matter() -> None:
    fields = [b"id", b"q-1", b"extra", b"x", b"task", b"f"]

    assert parse_entry(fields) == Entry("f", "q-1", b"{}")


@given(fields=st.lists(st.binary(), max_size=8))
def test_any_bytes_are_read_or_refused(fields: list[bytes]) -> None:
    with contextlib.suppress(UndecodableEntry):
        parse_entry(fields)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"task", b"f"],
        [b"task", b"\xff", b"id", b"q-1"],
        [b"task", b"f", b"id", b"q-1", b"meta", b"{"],
        [b"task", b"f", b"id", b"q-1", b"meta", b'{"attempts": "x"}'],
    ],
)
def test_an_entry_that_lacks_something_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(UndecodableEntry):
        parse_entry(fields)


def test_foreign_fields_must_be_text() -> None:
    assert plain_fields([b"prompt", "hé".encode()]) == {"prompt": "hé"}
    with pytest.raises(UndecodableEntry):
        plain_fields([b"prompt", b"\xff"])


def test_a_record_holds_its_result_as_json() -> None:
    record = Record(TaskState.SUCCEEDED, "f", result=msgspec.Raw(b'{"a":[1]}'))

    raw = encode_record(record)

    assert raw == b'{"state":"succeeded","task":"f","result":{"a":[1]}}'
    assert decode_record(raw).value == {"a": [1]}


def test_a_record_without_result_has_none() -> None:
    record = Record(TaskState.DEAD, error=ErrorInfo("ValueError", "no"))

    assert decode_record(encode_record(record)) == record
    assert record.value is None


@given(raw=st.binary())
def test_any_bytes_are_a_record_or_refused(raw: bytes) -> None:
    with contextlib.suppress(UndecodableEntry):
        decode_record(raw)


def test_final_states_are_the_five_ends() -> None:
    final = {state.value for state in TaskState if state.is_final}

    assert final == {"succeeded", "failed", "cancelled", "expired", "dead"}
