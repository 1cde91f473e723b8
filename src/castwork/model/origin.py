"""Where a function comes from: whether two functions are one that was declared again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def is_declared_again(before: Callable[..., Any], after: Callable[..., Any]) -> bool:
    """Whether a function stands for an earlier one: a notebook's cell or a module ran once more.

    Both have the name of one place in one module. What has no such name, as a lambda, a function
    made inside of another one, or a method of some object, may well be something else each time.
    """
    return _place(before) is not None and _place(before) == _place(after)


def _place(function: Callable[..., Any]) -> tuple[str, str] | None:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or "<" in name or hasattr(function, "__self__"):
        return None
    return module, name
