"""Types that have a JSON form, and those that are refused where they are declared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest

from castwork import App
from castwork.channels.event import EventCodec
from castwork.model.errors import DefinitionError
from castwork.model.json_types import make_decoder, prepare_type


class Plain:
    """A class without a JSON form."""


@dataclass
class Holds:
    inner: Plain


@dataclass
class Tree:
    children: list[Tree]


class Row(NamedTuple):
    x: int


class Keys(TypedDict):
    a: int


class Part(msgspec.Struct):
    tree: Tree


@pytest.mark.parametrize(
    "kind",
    [Plain, list[Plain], dict[str, Plain | None], Holds, Callable[[], int], Iterable[int], complex]
    + [threading.Thread, Plain | int, type],
    ids=str,
)
def test_a_type_without_a_json_form_is_refused_where_it_is_declared(kind: Any) -> None:
    def take(x: Any) -> None: ...

    def give() -> Any: ...

    take.__annotations__ = {"x": kind}
    give.__annotations__ = {"return": kind}
    app = App("redis://127.0.0.1:1")
    with pytest.raises(DefinitionError, match="'take', parameter 'x': .* has no JSON form"):
        app.task(take)
    with pytest.raises(DefinitionError, match="'give', result: .* has no JSON form"):
        app.task(give)
    with pytest.raises(DefinitionError, match="channel 'c': .* has no JSON form"):
        EventCodec("channel 'c'", kind, 100)
    with pytest.raises(DefinitionError, match="setting 's': .* has no JSON form"):
        app.setting("s", kind, default=None)


@pytest.mark.parametrize(
    "kind",
    [int, Any, None, list, dict[str, Any], Tree, Row, Keys, Part, bytes, set[int], tuple[int, ...]]
    + [int | None, list[Tree | None]],
    ids=str,
)
def test_other_types_stay_as_they_are(kind: Any) -> None:
    assert prepare_type(kind, "x") is kind


def test_an_object_is_anything() -> None:
    assert make_decoder(dict[str, object], "x")(b'{"a": [1]}') == {"a": [1]}
