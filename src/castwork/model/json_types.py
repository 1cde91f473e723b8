"""Types as users annotate them: made ready for decoding, or refused where they are declared."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect as msgspec_types

from castwork.model.errors import DefinitionError
from castwork.model.foreign import is_model, load_foreign


def make_decoder(kind: Any, what: str) -> Callable[[bytes], Any]:
    """A function that decodes JSON to values of a type.

    Args:
        kind: the type, as it is annotated.
        what: whose type it is, for the error's text.

    Raises:
        DefinitionError: the type has no JSON form.
    """
    ready = prepare_type(kind, what)
    try:
        return msgspec.json.Decoder(ready, dec_hook=load_foreign).decode
    except Exception as error:
        raise _no_form(what, kind, error) from error


def prepare_type(kind: Any, what: str) -> Any:
    """The type in the form in which msgspec decodes values of it.

    Unions with Pydantic models become a class that asks Pydantic, and `object` becomes `Any`.

    Raises:
        DefinitionError: the type has no JSON form.
    """
    try:
        ready = _prepared(kind)
        without = [c.__name__ for c in _custom_classes(ready) if not is_model(c)]
    except Exception as error:
        raise _no_form(what, kind, error) from error
    if without:
        raise DefinitionError(
            f"{what}: {without[0]} has no JSON form; use a dataclass, a msgspec.Struct, a Pydantic"
            " model, or plain values"
        )
    return ready


def _no_form(what: str, kind: Any, error: Exception) -> DefinitionError:
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    said = " ".join(str(error).split())[:300]
    return DefinitionError(f"{what}: {name} has no JSON form: {said}")


def _prepared(kind: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is object or origin is None or origin is typing.Literal:
        return Any if kind is object else kind
    bare = parts[0] if origin is typing.Annotated else kind
    if _asks_pydantic(bare):
        return _adapted(kind)
    if origin is typing.Annotated:
        ready = [_prepared(bare), *parts[1:]]
    else:
        ready = [part if part is ... else _prepared(part) for part in parts]
    if all(one is other for one, other in zip(ready, parts, strict=True)):
        return kind
    generic: Any = typing.Union if origin is types.UnionType else origin
    return generic[tuple(ready)]


def _asks_pydantic(kind: Any) -> bool:
    """Whether a type is a union of a Pydantic model and something other than None."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return False
    parts = [part for part in typing.get_args(kind) if part is not types.NoneType]
    models = [part for part in parts if is_model(typing.get_origin(part) or part)]
    return bool(models) and len(parts) > 1


class _Stands(type):
    """The kind of a class that stands for a union: msgspec must take the union's values for its."""

    def __instancecheck__(cls, value: object) -> bool:
        return True


def _adapted(kind: Any) -> type:
    """A class that stands for a union in msgspec's eyes, and has Pydantic read its values."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - is there, as one of its models is

    validate = TypeAdapter(kind).validate_json
    return _Stands(str(kind), (), {"model_validate_json": staticmethod(validate)})


def _custom_classes(kind: Any) -> Iterator[type]:
    """The classes in a type, however deep, that msgspec does not know."""
    waiting: list[Any] = [msgspec_types.type_info(kind)]
    seen: set[int] = set()
    while waiting:
        info = waiting.pop()
        if isinstance(info, tuple):
            waiting += info
        elif isinstance(info, msgspec_types.Type | msgspec_types.Field) and id(info) not in seen:
            seen.add(id(info))
            if isinstance(info, msgspec_types.CustomType):
                yield info.cls
            waiting += (getattr(info, name) for name in info.__struct_fields__)
