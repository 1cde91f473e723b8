from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from castwork.model.entry import (
    Entry,
    Meta,
    encode_meta,
    parse_entry,
    plain_fields,
    readable,
    wire_name,
)
from castwork.model.errors import UndecodableEntry
from castwork.model.ids import DIGITS
from castwork.model.record import ErrorInfo

NONCE = b"9OEVNDG6K9ABAM"
CALL = [b"call", b"infer 9OEVNDG6K9ABAM {}"]

counts = st.integers(0, 2**53)
texts = st.text(max_size=20)
metas = st.builds(
    Meta,
    attempts=counts,
    uncounted=counts,
    expires_ms=counts,
    max_attempts=st.integers(0, 99),
    timeout=st.floats(0, 1e6),
    errors=st.lists(st.builds(ErrorInfo, texts, texts, texts, counts, texts), max_size=2),
    owner=texts,
    tenant=texts,
    labels=st.dictionaries(texts, texts, max_size=2),
    headers=st.dictionaries(texts, texts, max_size=2),
)


def wire(entry: Entry) -> list[bytes]:
    fields = [*entry.fields(), *(["at", str(entry.at)] if entry.at else [])]
    return [f if isinstance(f, bytes) else f.encode() for f in fields]


@pytest.mark.parametrize("control", ["\n", "\r", "\x1b[31m", "\x9b", "\x00", "\u2028"])
def test_an_id_has_no_control_characters(control: str) -> None:
    with pytest.raises(UndecodableEntry, match="no task id"):
        parse_entry([b"task", b"f", b"id", f"a{control}b".encode()])


# -- as castwork writes ------------------------------------------------------------------


@given(
    task=st.text(min_size=1),
    nonce=st.text(DIGITS, min_size=14, max_size=14).map(str.encode) | st.sampled_from([b"", b"-"]),
    args=st.binary(),
    task_id=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])),
    at=st.integers(0, 2**63),
    meta=st.none() | metas,
)
def test_an_entry_is_read_as_it_was_written(
    task: str, nonce: bytes, args: bytes, task_id: str, at: int, meta: Meta | None
) -> None:
    entry = Entry(wire_name(task), nonce, args, task_id, at, meta)

    read = parse_entry(wire(entry))

    assert read == entry
    assert read.name == task


def test_a_plain_task_is_one_field() -> None:
    entry = Entry(b"infer", NONCE, b'{"prompt":"hi"}')

    assert entry.fields() == ["call", b'infer 9OEVNDG6K9ABAM {"prompt":"hi"}']


def test_arguments_may_have_spaces() -> None:
    read = parse_entry([b"call", b'infer 9OEVNDG6K9ABAM {"a": "b  c"} '])

    assert read.args == b'{"a": "b  c"} '


@given(task=st.text())
def test_any_name_is_one_word_of_ascii(task: str) -> None:
    word = wire_name(task)

    assert word.isascii()
    assert not set(word) & set(b" \n\r\t\0")
    assert Entry(word, NONCE, b"{}").name == task


@pytest.mark.parametrize(
    ("task", "word"),
    [
        ("infer", b"infer"),
        ("billing.pay:v2/[x]", b"billing.pay:v2/[x]"),
        ("with space", b"with%20space"),
        ("100%", b"100%25"),
        ("größe", b"gr%C3%B6%C3%9Fe"),
    ],
)
def test_names_are_escaped_where_they_must_be(task: str, word: bytes) -> None:
    assert wire_name(task) == word


def test_other_fields_are_passed_over() -> None:
    fields = [b"before", b"x", *CALL, b"behind", b"\xff", b"meta", b'{"later":"p","attempts":2}']

    assert parse_entry(fields) == Entry(b"infer", NONCE, b"{}", meta=Meta(attempts=2))


def test_empty_fields_are_as_good_as_none() -> None:
    assert parse_entry([*CALL, b"id", b"", b"meta", b""]) == Entry(b"infer", NONCE, b"{}")


def test_what_a_meta_leaves_out_has_defaults() -> None:
    assert encode_meta(Meta()) == b"{}"
    assert encode_meta(Meta(owner="o", labels={"a": "b"})) == b'{"owner":"o","labels":{"a":"b"}}'


# -- as other programs write -------------------------------------------------------------


def test_the_long_form_is_read() -> None:
    fields = [b"id", b"q:run-7", b"extra", b"x", b"args", b'{"a": 1}', b"task", "größe".encode()]

    read = parse_entry(fields)

    assert read == Entry(b"gr%C3%B6%C3%9Fe", b"", b'{"a": 1}', "q:run-7")
    assert read.name == "größe"


def test_the_long_form_needs_a_task_only() -> None:
    assert parse_entry([b"task", b"100%"]) == Entry(b"100%25", b"", b"{}")


def test_a_call_goes_before_the_long_form() -> None:
    assert parse_entry([b"task", b"other", *CALL]) == Entry(b"infer", NONCE, b"{}")


# -- what is neither ---------------------------------------------------------------------

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"call"],
        [b"hello", b"world"],
        [b"args", b"{}", b"id", b"q:1"],
        [b"call", b""],
        [b"call", b"infer"],
        [b"call", b"infer 9OEVNDG6K9ABAM"],
        [b"call", b"infer short {}"],
        [b"call", b"infer 9oevndg6k9abam {}"],
        [b"call", b"infer 9OEVNDG6K9ABAMM {}"],
        [b"call", b"in fer 9OEVNDG6K9ABAM {}"],
        [b"call", b"\xff 9OEVNDG6K9ABAM {}"],
        [b"call", b"infer \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff {}"],
        [b"call", b"\xff", b"task", b"infer"],
        [b"task", b"\xff"],
        [*CALL, b"id", b"\xff"],
        [*CALL, b"id", b"q:1\nq:2"],
        [*CALL, b"at", b""],
        [*CALL, b"at", b"soon"],
        [*CALL, b"at", b"-1"],
        [*CALL, b"at", b"1_0"],
        [*CALL, b"at", b"1.5"],
        [*CALL, b"at", b"\xd9\xa3"],
        [*CALL, b"at", b"9" * 5000],
        [*CALL, b"meta", b"{"],
        [*CALL, b"meta", b"\xff"],
        [*CALL, b"meta", b"[]"],
        [*CALL, b"meta", b"null"],
        [*CALL, b"meta", b"1"],
        [*CALL, b"meta", DEEP],
        [*CALL, b"meta", b'{"errors":' + DEEP],
        [*CALL, b"meta", b'{"color":' + DEEP],
        [*CALL, b"meta", b'{"attempts": "x"}'],
        [*CALL, b"meta", b'{"attempts": -1}'],
        [*CALL, b"meta", b'{"attempts": 1.5}'],
        [*CALL, b"meta", b'{"uncounted": ' + b"9" * 400 + b"}"],
        [*CALL, b"meta", b'{"timeout": 1e999}'],
        [*CALL, b"meta", b'{"labels": {"a": 1}}'],
        [*CALL, b"meta", b'{"owner": "\\ud800"}'],
        [*CALL, b"meta", b'{"errors": [{}]}'],
    ],
    ids=lambda fields: repr(fields)[:60],
)
def test_an_entry_that_is_malformed_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(UndecodableEntry):
        parse_entry(fields)


values = st.binary() | st.sampled_from(
    [b"", b"{}", b"[]", b"null", b"f", b"f 9OEVNDG6K9ABAM {}", b"f - {}", b"1764000000000", b"\xff"]
)
words = st.builds(
    lambda *parts: b" ".join(parts),
    st.binary(max_size=5),
    st.binary(min_size=14, max_size=14) | st.just(NONCE),
    st.binary(max_size=9),
)
names = st.binary() | st.sampled_from([b"call", b"task", b"args", b"id", b"at", b"meta"])
json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
).map(lambda value: repr(value).replace("'", '"').encode("utf-8", "replace"))


@given(
    fields=st.lists(st.tuples(names, values | words | json_text), max_size=8),
    odd=st.lists(st.binary(), max_size=1),
)
@example(fields=[(b"call", b"f 9OEVNDG6K9ABAM {}"), (b"id", b"\xed\xa0\x80")], odd=[])
@example(fields=[(b"call", b"%FF 9OEVNDG6K9ABAM {}")], odd=[b"x"])
@example(fields=[(b"call", b"f 9OEVNDG6K9ABAM {}"), (b"meta", b"9" * 5000)], odd=[])
def test_any_fields_are_read_or_refused(
    fields: list[tuple[bytes, bytes]], odd: list[bytes]
) -> None:
    flat = [part for pair in fields for part in pair] + odd
    with contextlib.suppress(UndecodableEntry):
        entry = parse_entry(flat)
        assert isinstance(entry.name, str)
        assert "\n" not in entry.id
        assert entry.at >= 0
        assert parse_entry(wire(entry)) == entry


# -- adopted streams ---------------------------------------------------------------------


def test_foreign_fields_must_be_text() -> None:
    assert plain_fields([b"prompt", "hé".encode()]) == {"prompt": "hé"}
    for fields in ([b"prompt", b"\xff"], [b"\xff", b"x"]):
        with pytest.raises(UndecodableEntry):
            plain_fields(fields)


@given(raw=st.binary())
def test_any_bytes_can_be_shown(raw: bytes) -> None:
    readable(raw).encode()
