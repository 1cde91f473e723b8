"""Compares a Pydantic model with what its JSON form makes again, for what JSON does not carry."""

from __future__ import annotations

import math
from typing import Any


def find_loss(sent: Any, made: Any, path: str = "") -> str:
    """What a value loses on its way through JSON, as `.token is a secret, ...`; empty for nothing.

    Only what a model says about itself is looked at: fields, subclasses, secrets. Values that JSON
    writes in another form (a tuple as a list, say) are no loss.

    Args:
        sent: the value.
        made: what its JSON form makes.
        path: where it is in the whole.
    """
    if hasattr(type(sent), "get_secret_value"):
        return _secret(sent, made, path)
    if hasattr(type(sent), "model_fields"):
        return _model(sent, made, path)
    if isinstance(sent, float) and not math.isfinite(sent):
        return (
            "" if isinstance(made, float | str) else f"{path} is {sent}, which JSON does not have"
        )
    if isinstance(sent, dict) and isinstance(made, dict):
        pairs = [(f"{path}[{key!r}]", part, made.get(key)) for key, part in sent.items()]
    elif isinstance(sent, list | tuple) and isinstance(made, list | tuple):
        parts = enumerate(zip(sent, made, strict=False))
        pairs = [(f"{path}[{number}]", one, other) for number, (one, other) in parts]
    else:
        return ""
    return next(filter(None, (find_loss(one, other, at) for at, one, other in pairs)), "")


def _secret(sent: Any, made: Any, path: str) -> str:
    told = getattr(made, "get_secret_value", lambda: made)
    if told() == sent.get_secret_value():
        return ""
    return (
        f"{path} is a secret, which its JSON masks: send the name of the secret and read it where"
        " it is needed, or give the field a serializer"
    )


def _model(sent: Any, made: Any, path: str) -> str:
    kind = type(sent)
    loose = isinstance(made, dict)  # declared as Any: it is a dict for who reads it, and complete
    if not loose and type(made) is not kind:
        return (
            f"{path} is a {kind.__name__} and comes back as a {type(made).__name__}: declare the"
            f" field as {kind.__name__}"
        )
    for name, field in kind.model_fields.items():
        one = getattr(sent, name)
        if loose:
            other = made.get(field.serialization_alias or field.alias or name)
        else:
            other = getattr(made, name)
        if field.exclude and not _same(one, other):
            return f"{path}.{name} is excluded from its JSON form, so that it would be lost"
        if loss := find_loss(one, other, f"{path}.{name}"):
            return loss
    extra = getattr(sent, "__pydantic_extra__", None) or {}
    return "" if loose else find_loss(extra, made.__pydantic_extra__ or {}, path)


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # of values that do not compare
        return one is other
