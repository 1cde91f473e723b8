from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork.model.errors import UndecodableEntry
from castwork.model.record import (
    FORMAT,
    ErrorInfo,
    Record,
    decode_record,
    encode_record,
    status_of,
)
from castwork.model.states import FINAL_STATES, TaskState

texts = st.text(max_size=30)
times = st.none() | st.floats(0, 4e9)
records = st.builds(
    Record,
    st.sampled_from(TaskState),
    texts,
    st.integers(0, 2**60),
    texts,
    times,
    times,
    error=st.none() | st.builds(ErrorInfo, texts, texts, texts, st.integers(0, 99), texts),
)


def test_a_record_holds_its_result_as_json() -> None:
    record = Record(TaskState.SUCCEEDED, "f", result=msgspec.Raw(b'{"a":[1]}'))

    raw = encode_record(record)

    assert raw == b'{"status":"succeeded","task":"f","result":{"a":[1]},"v":1}'
    assert decode_record(raw).value == {"a": [1]}


@given(record=records)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    raw = encode_record(record)

    assert b"\n" not in raw
    assert decode_record(raw) == record
    assert decode_record(raw).v == FORMAT == 1


def test_a_record_without_result_has_none() -> None:
    record = Record(TaskState.DEAD, error=ErrorInfo("ValueError", "no"))

    assert decode_record(encode_record(record)) == record
    assert record.value is None


@pytest.mark.parametrize("result", [b"null", b"0", b'""', b"[]", b"false"])
def test_an_empty_result_is_a_result(result: bytes) -> None:
    raw = encode_record(Record(TaskState.SUCCEEDED, result=msgspec.Raw(result)))

    read = decode_record(raw).result
    assert read is not msgspec.UNSET
    assert bytes(read) == result
    assert decode_record(raw).value == json.loads(result)


@pytest.mark.parametrize(
    "result", [b'{\n  "a": [\n    1,\n    "b\\nc"\n  ]\n}', b"[1,\r\n2]", b"\n1\n"]
)
def test_a_result_of_many_lines_becomes_one(result: bytes) -> None:
    raw = encode_record(Record(TaskState.SUCCEEDED, "f", result=msgspec.Raw(result)))

    assert b"\n" not in raw
    assert decode_record(raw).value == json.loads(result)


def test_lines_in_texts_are_kept() -> None:
    error = ErrorInfo("ValueError", "one\ntwo", "three\nfour")
    record = Record(TaskState.FAILED, error=error, result=msgspec.Raw(b'"a\\nb"\n'))

    read = decode_record(encode_record(record))

    assert read.error == error
    assert read.value == "a\nb"


def test_a_record_of_another_version_is_read_as_far_as_it_is_known() -> None:
    raw = (
        b'{"v":7,"status":"failed","labels":{"a":"b"},"later":[1],'
        b'"error":{"type":"E","chunks":3},"attempts":2}'
    )

    read = decode_record(raw)

    assert read == Record(
        TaskState.FAILED, attempts=2, error=ErrorInfo("E"), labels={"a": "b"}, v=7
    )


def test_a_record_needs_no_version() -> None:
    assert decode_record(b'{"status":"queued"}') == Record(TaskState.QUEUED, v=0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}",
        b"null",
        b"[]",
        b"\xff",
        b'{"state":"succeeded"}',
        b'{"status":"unheard-of"}',
        b'{"status":"failed","attempts":"two"}',
        b'{"status":"failed","task":"\xff"}',
        b'{"status":"succeeded","result":}',
        b'{"status":"succeeded","result":' + b"[" * 100_000,
        b'{"status":"queued","color":' + b"[" * 100_000,
    ],
    ids=lambda raw: repr(raw)[:50],
)
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    with pytest.raises(UndecodableEntry, match="not a task record"):
        decode_record(raw)


@given(raw=st.binary())
def test_any_bytes_are_a_record_or_refused(raw: bytes) -> None:
    with contextlib.suppress(UndecodableEntry):
        decode_record(raw)


@given(record=records, result=st.none() | st.just(msgspec.Raw(b'{"a":1}')))
def test_a_status_tells_all_that_the_record_does(
    record: Record, result: msgspec.Raw | None
) -> None:
    record.result = msgspec.UNSET if result is None else result
    status = status_of("q-1", "q", record)

    assert (status.task_id, status.queue) == ("q-1", "q")
    for name in set(Record.__struct_fields__) - {"v", "watched", "failures"}:
        assert getattr(status, name) == getattr(record, name)


def test_final_states_are_the_five_ends() -> None:
    final = {state.value for state in TaskState if state.is_final}

    assert final == {"succeeded", "failed", "cancelled", "expired", "dead"}
    assert final == FINAL_STATES
