"""Defaults of parameters: each task has its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from castwork.model.errors import DefinitionError
from castwork.model.signature import Signature


@dataclass
class Options:
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fixed:
    size: int = 1


class Model(BaseModel):
    tags: list[str] = []


def decoded(default: Any, kind: Any = Any) -> list[Any]:
    """What two tasks get."""

    def work(x: Any = default) -> None: ...

    work.__annotations__ = {"x": kind}
    signature = Signature(work)
    return [signature.caller(lambda x: x)(signature.decode(b"{}")) for _ in range(2)]


@pytest.mark.parametrize(
    "default",
    [[], [[]], {"a": {"b": []}}, {"a"}, ([],), Options(), [Options()], Model()],
    ids=str,
)
def test_a_default_that_can_change_is_a_tasks_own(default: Any) -> None:
    one, other = decoded(default)

    assert one == other == default
    assert one is not other
    assert one is not default


def test_what_is_inside_of_a_default_is_a_tasks_own() -> None:
    one, other = decoded({"a": [Options(["x"])]})
    one["a"][0].tags.append("y")

    assert other == {"a": [Options(["x"])]}


@pytest.mark.parametrize("default", [None, 3, "x", (1, "a"), Fixed(), object(), threading.Lock()])
def test_a_default_that_cannot_change_is_the_same(default: Any) -> None:
    one, other = decoded(default)

    assert one is other is default


def test_a_default_that_cannot_be_copied_is_refused() -> None:
    @dataclass
    class Stubborn:
        size: int = 1

        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("no copies")

    with pytest.raises(DefinitionError, match="parameter 'x': its default cannot be copied"):
        decoded(Stubborn())
