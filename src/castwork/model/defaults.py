"""Defaults of parameters: no two tasks may share one that a task could change."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from castwork.model.codec import encode_value
from castwork.model.errors import DefinitionError, NoJsonForm


def own_default(default: Any, what: str) -> Any:
    """Give each task a copy of its own of a default that a task could change.

    Args:
        default: the default.
        what: whose default it is, for the error's text.

    Raises:
        DefinitionError: the default cannot be copied.

    A default without a JSON form stays the one object: it is a mark (as `MISSING = object()`) that
    the function compares by identity.
    """
    if _is_fixed(default):
        return default
    try:
        encode_value(default)
    except NoJsonForm:
        return default
    try:
        copy.deepcopy(default)
    except Exception as error:
        raise DefinitionError(
            f"{what}: its default cannot be copied for each task ({error}); use None, and make it"
            " in the function"
        ) from error
    return msgspec.field(default_factory=lambda: copy.deepcopy(default))


def _is_fixed(value: Any) -> bool:
    """Whether a value cannot change: it has a hash, which is not that of its identity."""
    if getattr(type(value), "__hash__", None) is object.__hash__:
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return True
