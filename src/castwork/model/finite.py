"""Finds numbers that JSON cannot hold: NaN and the infinities, which encoders write as null."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

#: Doubles whose exponent is all ones, as MessagePack writes them; other bytes may look alike.
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")


def _nothing(_value: Any) -> None:
    """Stands for a value of a type that msgspec does not know: its own dump was looked at."""


_pack = msgspec.msgpack.Encoder(enc_hook=_nothing).encode


def find_not_finite(value: object) -> str:
    """The path of a number in a value that is not finite, as `$.loss[2]`; empty if there is none.

    A value is packed first, as that is quick and keeps such numbers; only when the bytes look like
    one is the value walked.
    """
    try:
        if not _NOT_FINITE.search(_pack(value)):
            return ""
    except (TypeError, ValueError, OverflowError):
        pass  # JSON holds more than MessagePack, integers of any size say
    return _walk(msgspec.to_builtins(value, enc_hook=_nothing), "$")


def _walk(value: Any, path: str) -> str:
    if isinstance(value, float):
        return "" if math.isfinite(value) else path
    if isinstance(value, dict):
        parts = ((f"{path}.{key}", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        parts = ((f"{path}[{number}]", part) for number, part in enumerate(value))
    else:
        return ""
    return next(filter(None, (_walk(part, at) for at, part in parts)), "")
