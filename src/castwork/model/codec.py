"""JSON in and out. Values on the wire are JSON: readable in redis-cli, writable anywhere."""

from __future__ import annotations

import msgspec

from castwork.model.errors import NoJsonForm
from castwork.model.finite import find_not_finite
from castwork.model.foreign import dump_foreign

_encoder = msgspec.json.Encoder()
_any_decoder = msgspec.json.Decoder()

#: The encoder of castwork's own structs, whose fields all have a JSON form.
encode = _encoder.encode

#: Decodes JSON to plain Python values (dict, list, str, int, float, bool, None).
decode_any = _any_decoder.decode

_encode_foreign = msgspec.json.Encoder(enc_hook=dump_foreign).encode


def encode_value(value: object) -> bytes:
    """Encode a value of a user's to JSON.

    Pydantic models are encoded through their own `model_dump`, everything else by msgspec
    (dataclasses, structs, datetimes, UUIDs, Decimals, enums, attrs classes).

    Raises:
        NoJsonForm: the value has a type without a JSON form, text that is no UTF-8, a number that
            is not finite, or is nested too deeply; or a model in it would not come back as it is.
    """
    try:
        raw = encode(value)
    except Exception:  # most often a model's TypeError; if not, the other encoder says it again
        raw = _encode_with_models(value)
    if b"null" in raw and (path := find_not_finite(value)):
        raise NoJsonForm(f"not a finite number, which JSON does not have, at `{path}`", path=path)
    return raw


def _encode_with_models(value: object) -> bytes:
    try:
        return _encode_foreign(value)
    except NoJsonForm:
        raise
    except RecursionError as error:
        raise NoJsonForm("the value is nested too deeply for JSON") from error
    except UnicodeEncodeError as error:
        raise NoJsonForm(f"the value has text that is no UTF-8: {error}") from error
    except Exception as error:
        raise NoJsonForm(f"the value has no JSON form: {error}") from error
