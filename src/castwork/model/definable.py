"""What may be declared as a task function: something with a name that Python can find again."""

from __future__ import annotations

import inspect
from typing import Any

from castwork.model.errors import DefinitionError


def check_definable(function: Any, *, is_named: bool) -> None:
    """Refuse what cannot be a task function.

    Args:
        function: what was decorated.
        is_named: whether the declaration gives a name.

    Raises:
        DefinitionError: it is no function, has no name, or is a method that nobody has bound; the
            error says what to write instead.
    """
    if inspect.isclass(function):
        raise DefinitionError(
            f"{function.__name__} is a class: declare a function that makes the object and uses it"
        )
    if not callable(function):
        raise DefinitionError(f"{function!r:.100} cannot be called: declare a function")
    if not hasattr(function, "__name__"):
        raise DefinitionError(
            f"{function!r:.100} has no name and no signature of its own: declare a function that"
            " calls it"
        )
    if function.__name__ == "<lambda>" and not is_named:
        raise DefinitionError("a lambda has no name: write app.task(name='...')(lambda ...)")
    if _is_unbound(function):
        raise DefinitionError(
            f"{function.__qualname__} is a method, and a worker has no object to call it on:"
            f" declare it on an object, app.task(name='...')(one.{function.__name__}), or take it"
            " out of the class"
        )


def _is_unbound(function: Any) -> bool:
    """Whether a function stands in a class body and takes the object, or the class."""
    if not inspect.isfunction(function):
        return False
    around = function.__qualname__.rpartition(".")[0]
    parameters = list(inspect.signature(function).parameters)
    return (
        bool(around) and not around.endswith("<locals>") and parameters[:1] in (["self"], ["cls"])
    )
