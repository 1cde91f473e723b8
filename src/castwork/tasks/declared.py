"""Declared: finds a task function again in another process that has imported the same modules."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, Protocol

from castwork.model.errors import DefinitionError
from castwork.tasks.chain import Chain
from castwork.tasks.function import TaskFunction


class Address(Protocol):
    """Where an app's server is."""

    override: str


class Place(NamedTuple):
    """Where a task function is declared.

    Attributes:
        module: name of the module.
        qualified: the function's qualified name in it.
        task: the task function's name.
    """

    module: str
    qualified: str
    task: str


class Declared(NamedTuple):
    """A task function, and what of its app a process needs to run it.

    Attributes:
        function: the task function.
        around: the wrappers around the tasks of its app.
        address: where its app's server is.
    """

    function: TaskFunction[Any, Any]
    around: Chain
    address: Address


#: The name under which another process runs the program's file, as `multiprocessing` does.
MAIN_AGAIN = "__mp_main__"

_declared: dict[Place, Declared] = {}


def place_of(function: TaskFunction[Any, Any]) -> Place:
    """Where a task function is declared."""
    code = function.function
    module = "__main__" if code.__module__ == MAIN_AGAIN else code.__module__
    return Place(module, getattr(code, "__qualname__", code.__name__), function.name)


def remember(declared: Declared) -> None:
    """Have `find_declared` find a task function; a later one at the same place replaces it."""
    _declared[place_of(declared.function)] = declared


def find_declared(place: Place) -> Declared:
    """The task function that is declared at a place, whose module is imported.

    Raises:
        DefinitionError: there is none.
        Exception: whatever importing the module raises.
    """
    __import__(place.module)
    if place not in _declared:
        file = getattr(sys.modules[place.module], "__file__", None) or place.module
        raise DefinitionError(
            f"task {place.task!r} runs in a process of its own, which imports {file}, and that"
            f" declares no {place.qualified}: declare it while the module is imported"
        )
    return _declared[place]
