"""By: what calls are told apart by: tenant, owner, an argument, or a function of the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from castwork.model.codec import encode_value
from castwork.model.errors import DefinitionError
from castwork.model.signature import Signature
from castwork.tasks.call import Call

#: `tenant`, `owner`, the name of an argument, or a function that gets the call and returns text.
By = str | Callable[[Call[Any]], str]

_FIELDS = ("tenant", "owner")


def key_of(by: By, signature: Signature) -> Callable[[Call[Any]], str]:
    """A function that names what a call belongs to.

    Raises:
        DefinitionError: no argument has that name, or an argument is named like a field.
    """
    if callable(by):
        return key_of_any(by)
    if by in _FIELDS:
        if by in signature.parameters:
            raise DefinitionError(
                f"{by!r} is an argument and a field of each task: give a function of the call"
            )
        return key_of_any(by)
    if by not in signature.parameters:
        raise DefinitionError(
            f"no argument is named {by!r}; there are: {', '.join(signature.parameters) or 'none'},"
            " and tenant and owner"
        )
    return lambda call: _text(_argument(call, by))


def key_of_any(by: By) -> Callable[[Call[Any]], str]:
    """The same for calls of any function: by `tenant`, `owner`, or a function of the call."""
    if callable(by):
        return lambda call: _text(by(call))
    return lambda call: str(getattr(call, by))


def _argument(call: Call[Any], name: str) -> Any:
    """An argument of a call, or its default."""
    if name in call.arguments:
        return call.arguments[name]
    return getattr(call.function.signature.decode(call.encoded), name)


def _text(value: Any) -> str:
    """A value as text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else encode_value(value).decode()
