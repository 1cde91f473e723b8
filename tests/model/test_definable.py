"""What may be declared as a task function."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from castwork import App
from castwork.model.errors import DefinitionError

app = App("redis://nowhere")


class Model:
    def load(self, number: int) -> int:
        return number

    @classmethod
    def of(cls, number: int) -> int:
        return number

    @staticmethod
    def plain(number: int) -> int:
        return number

    def __call__(self, number: int) -> int:
        return number


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda number: number, "name="),
        (Model, "is a class"),
        (functools.partial(Model.plain, 1), "declare a function that calls it"),
        (Model(), "declare a function that calls it"),
        (Model.load, "on an object"),
        ("load", "cannot be called"),
        (vars(Model)["of"], "cannot be called"),
    ],
)
def test_what_no_worker_could_call_is_refused_with_what_to_write(function: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        app.task(function)


def test_a_method_in_a_class_body_is_refused_where_it_stands() -> None:
    with pytest.raises(DefinitionError, match=r"Worker\.run is a method"):

        class Worker:
            @app.task
            async def run(self, number: int) -> None: ...


def test_what_has_an_object_and_a_name_is_taken() -> None:
    made = [
        app.task(name="bound")(Model().load),
        app.task(name="class")(Model.of),
        app.task(name="static")(Model.plain),
        app.task(name="short")(lambda number: number),
    ]
    assert [one.signature.parameters for one in made] == [["number"]] * 4
