"""JSON in and out. Values on the wire are JSON: readable in redis-cli, writable anywhere."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_any_decoder = msgspec.json.Decoder()

#: The encoder of every value, event and record.
encode = _encoder.encode

#: Decodes JSON to plain Python values (dict, list, str, int, float, bool, None).
decode_any = _any_decoder.decode


def encode_value(value: object) -> bytes:
    """Encode a value to JSON.

    Pydantic models are encoded through their own `model_dump`, everything else by msgspec
    (dataclasses, structs, datetimes, UUIDs, Decimals, enums, attrs classes).

    Raises:
        TypeError: the value has no JSON form.
    """
    try:
        return encode(value)
    except TypeError:
        return msgspec.json.encode(value, enc_hook=_dump_foreign)


def _dump_foreign(value: Any) -> Any:
    """Give msgspec a plain form of a value of a type that it does not know."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def load_foreign(expected: type, value: Any) -> Any:
    """Build a Pydantic model from plain values (msgspec's `dec_hook`)."""
    validate = getattr(expected, "model_validate", None)
    if validate is not None:
        return validate(value)
    raise NotImplementedError(f"values of type {expected.__name__} cannot be decoded from JSON")
