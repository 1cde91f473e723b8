from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.signature import Kind, Signature


@dataclass
class Point:
    x: int
    y: int


class Order(BaseModel):
    number: int
    note: str = ""


async def infer(prompt: str, model: str = "small", *, count: int = 1) -> str:
    return f"{prompt} {model} {count}"


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    signature = Signature(function)
    raw = signature.encode(args, kwargs)
    return signature.caller(lambda *a, **k: (a, k))(signature.decode(raw))


def test_arguments_travel_by_name() -> None:
    assert Signature(infer).encode(("hi",), {"count": 3}) == b'{"prompt":"hi","count":3}'


def test_defaults_are_the_workers() -> None:
    assert call(infer, "hi", count=3) == (("hi", "small"), {"count": 3})


@given(prompt=st.text(), model=st.text(), count=st.integers(-(2**60), 2**60))
def test_any_text_and_number_arrives_as_it_was(prompt: str, model: str, count: int) -> None:
    arrived = call(infer, prompt, model=model, count=count)

    assert arrived == ((prompt, model), {"count": count})


def test_rich_types_arrive_as_themselves() -> None:
    def work(point: Point, at: datetime, order: Order, tags: set[str]) -> None: ...

    sent = (Point(1, 2), datetime(2026, 1, 2), Order(number=3), {"a"})

    assert call(work, *sent) == (sent, {})


@pytest.mark.parametrize(
    ("args", "kwargs", "culprit"),
    [
        ((), {}, "prompt"),
        (("a", "b", "c"), {}, "too many"),
        (("a",), {"mode": "x"}, "mode"),
        ((), {"model": "x"}, "prompt"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(InvalidArguments, match=culprit):
        Signature(infer).encode(args, kwargs)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"prompt": 3}', "prompt"),
        (b"{}", "prompt"),
        (b'{"prompt": "a", "count": "x"}', "count"),
        (b'{"prompt": "a", "mode": 1}', "mode"),
        (b"[]", "prompt"),
        (b"[1]", ""),
        (b"not json", ""),
        (b"\xff\xfe", ""),
    ],
)
def test_arguments_that_do_not_decode_name_the_field(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        Signature(infer).decode(raw)

    assert caught.value.field == field


def test_text_of_a_foreign_producer_is_converted() -> None:
    def work(prompt: str, count: int, ratio: float, on: bool, tags: list[str]) -> None: ...

    signature = Signature(work)
    raw = (
        b'{"prompt": "[1]", "count": "3", "ratio": "0.5", "on": "true",'
        b' "tags": "[\\"a\\"]", "user_id": "u1"}'
    )

    assert signature.caller(lambda *a: a)(signature.decode_text(raw)) == (
        "[1]",
        3,
        0.5,
        True,
        ["a"],
    )


def test_foreign_text_that_does_not_fit_names_the_field() -> None:
    def work(count: int) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        Signature(work).decode_text(b'{"count": "many"}')

    assert caught.value.field == "count"


def test_parameters_may_have_names_that_classes_mangle() -> None:
    def work(__prompt: str, __count: int = 2) -> None: ...

    signature = Signature(work)

    assert signature.parameters == ["__prompt", "__count"]
    assert signature.encode(("hi",), {"__count": 3}) == b'{"__prompt":"hi","__count":3}'
    assert call(work, "hi") == (("hi", 2), {})
    with pytest.raises(InvalidArguments) as caught:
        signature.decode(b'{"__prompt": 3}')
    assert caught.value.field == "__prompt"


def test_an_empty_list_stands_for_no_arguments() -> None:
    def work(count: int = 2) -> None: ...

    signature = Signature(work)

    assert signature.decode(b" [] ") == signature.decode(b"{}")


@pytest.mark.parametrize(
    ("value", "says"),
    [("\ud800", "UTF-8"), (float("nan"), "finite"), (object(), "JSON form"), ({(1,): 2}, "JSON")],
)
def test_an_argument_without_a_json_form_is_named(value: Any, says: str) -> None:
    def work(first: Any, second: Any = None) -> None: ...

    with pytest.raises(InvalidArguments, match=f"argument 'second'.*{says}") as caught:
        Signature(work).encode((1,), {"second": value})

    assert caught.value.field == "second"


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), ZeroDivisionError()])
def test_whatever_a_types_own_code_raises_is_one_error(error: Exception) -> None:
    @dataclass
    class Moody:
        x: int

        def __post_init__(self) -> None:
            raise error

    def work(moody: Any) -> None: ...

    work.__annotations__ = {"moody": Moody}
    signature = Signature(work)
    for read in (signature.decode, signature.decode_text):
        with pytest.raises(InvalidArguments, match="were refused"):
            read(b'{"moody":{"x":1}}')


def test_kinds_follow_the_function() -> None:
    async def chat(prompt: str) -> AsyncIterator[str]:
        yield prompt

    async def numbers() -> AsyncIterator[int]:
        yield 1

    def plain_numbers() -> Iterator[int]:
        yield 1

    def plain() -> bytes: ...

    assert Signature(chat).kind is Kind.GENERATOR
    assert Signature(chat).joins_text
    assert Signature(chat).result_type() is str
    assert not Signature(numbers).joins_text
    assert Signature(numbers).result_type() == list[int]
    assert not Signature(numbers).is_plain
    assert Signature(plain_numbers).is_plain
    assert Signature(plain_numbers).result_type() == list[int]
    assert Signature(infer).kind is Kind.COROUTINE
    assert Signature(plain).kind is Kind.THREAD


def test_signatures_that_cannot_be_checked_are_refused() -> None:
    def variadic(*args: int) -> None: ...

    def unknown(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function in (variadic, unknown):
        with pytest.raises(DefinitionError, match=function.__name__):
            Signature(function)
