"""Shown: results as wrappers see them, and what becomes of what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from castwork.worker.outcome import NotKept


class Shown:
    """The result of one call, on its way through wrappers.

    Args:
        decode: decodes a result that is JSON.
    """

    def __init__(self, decode: Callable[[Any], Any]) -> None:
        self._decode = decode
        self._not_kept: NotKept | None = None

    def show(self, result: Any) -> Any:
        """The result for the innermost wrapper; None in place of one that is not kept."""
        if isinstance(result, NotKept):
            self._not_kept = result
            return None
        return self._decode(result) if isinstance(result, msgspec.Raw) else result

    def settle(self, value: Any) -> Any:
        """The task's result, where the outermost wrapper has returned this value."""
        return self._not_kept if value is None and self._not_kept is not None else value
