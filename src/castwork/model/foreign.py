"""Values of types that msgspec does not know: Pydantic models, and unions that hold such models.

Pydantic itself is never imported for them: a model brings the methods that are called here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.errors import NoJsonForm
from castwork.model.finite import find_not_finite
from castwork.model.losses import find_loss


def is_model(kind: Any) -> bool:
    """Whether a type is a Pydantic model's, or makes values from JSON as such a model does."""
    return isinstance(kind, type) and hasattr(kind, "model_validate_json")


def dump_foreign(value: Any) -> Any:
    """Give msgspec a plain form of a value of a type that it does not know (its `enc_hook`).

    A model's dump is read back at once. So what JSON loses of a model (a masked secret, an excluded
    field, a subclass's own fields) is refused here, where its sender can act, whether the model is
    an argument, a result, a chunk or an event.

    Raises:
        NoJsonForm: the value is no model, or would not come back from its JSON as it is.
    """
    kind = type(value)
    if not is_model(kind):
        raise NoJsonForm(f"a value of type {kind.__name__} has no JSON form")
    try:
        plain = value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
    except Exception as error:
        raise NoJsonForm(f"{kind.__name__}: {_dump_advice(error)}") from error
    if path := find_not_finite(plain):
        raise NoJsonForm(f"{kind.__name__}: not a finite number at `{path}`", path=path)
    try:
        again = kind.model_validate_json(msgspec.json.encode(plain))
    except Exception as error:
        raise NoJsonForm(
            f"{kind.__name__}: its JSON form does not make it again: {describe_invalid(error)}"
        ) from error
    if loss := find_loss(value, again):
        raise NoJsonForm(f"{kind.__name__}{loss}")
    return plain


def _dump_advice(error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    if "utf-8" in said or "utf8" in said:
        said += (
            "; for bytes set ser_json_bytes and val_json_bytes of its model_config to 'base64', or"
            " send text"
        )
    return said


def load_foreign(expected: type, value: Any) -> Any:
    """Build a Pydantic model from plain values (msgspec's `dec_hook`).

    The values are read as JSON, so that a strict model takes the text of a date, say.

    Raises:
        ValueError: they do not fit; msgspec adds where.
    """
    if not is_model(expected):
        raise NotImplementedError(f"values of type {expected.__name__} cannot be made from JSON")
    try:
        return expected.model_validate_json(msgspec.json.encode(value))  # type: ignore[attr-defined]
    except Exception as error:  # validators may raise anything
        raise ValueError(describe_invalid(error)) from error


def describe_invalid(error: Exception) -> str:
    """What does not fit, in one line: the first finding of Pydantic, or any other error's text."""
    findings = getattr(error, "errors", None)
    if callable(findings):
        first = findings()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    said = " ".join(str(error).split())
    return said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}"
