"""Async generators: each item is sent as a chunk while the function runs."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.chunk import CHUNK
from castwork.model.codec import encode_value
from castwork.model.errors import InvalidArguments
from castwork.model.settings import Limits
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.outcome import NotKept
from castwork.worker.runnable import Caller


class Items:
    """The items of a stream, to be its result: as JSON, so that no item is kept besides.

    Args:
        joins_text: whether the result is one text, else it is a list.
        most: bytes of a result; beyond them nothing is kept.
        keeps: whether the items are the result; else the code sets one.
    """

    def __init__(self, *, joins_text: bool, most: int, keeps: bool = True) -> None:
        self._joins_text = joins_text
        self._keeps = keeps
        self._limit = most
        self._most = most if keeps else 0
        self._parts: list[bytes] = []
        self._size = 2

    @classmethod
    def of(cls, function: TaskFunction[Any, Any], limits: Limits) -> Items:
        """The items of one call of a function."""
        keeps, joins_text = function.settings.result is None, function.signature.joins_text
        return cls(joins_text=joins_text, keeps=keeps, most=limits.result)

    def add(self, item: Any) -> msgspec.Raw:
        """Add an item, and return its JSON.

        Raises:
            InvalidArguments: the item has no JSON form, or is no text where the stream is text.
        """
        if self._joins_text and not isinstance(item, str):
            raise InvalidArguments(f"the stream is text, an item is {type(item).__name__}")
        try:
            raw = encode_value(item)
        except Exception as error:
            raise InvalidArguments(f"an item of the stream has no JSON form: {error}") from error
        self._size += len(raw) - 2 if self._joins_text else len(raw) + 1
        if self._size > self._most:
            self._parts.clear()
        else:
            self._parts.append(raw)
        return msgspec.Raw(raw)

    def result_of(self, attempt: Attempt) -> msgspec.Raw | NotKept | None:
        """The result when the stream has ended: its items, or what the code has set."""
        given = attempt.returned
        if self._keeps:
            return self.result()
        if given is not None and len(given) > self._limit:
            return NotKept(len(given), self._limit)
        return given

    def result(self) -> msgspec.Raw | NotKept:
        """All items as one JSON value."""
        if self._size > self._most:
            return NotKept(self._size, self._most)
        if self._joins_text:
            return msgspec.Raw(b'"' + b"".join(part[1:-1] for part in self._parts) + b'"')
        return msgspec.Raw(b"[" + b",".join(self._parts) + b"]")


def stream_caller(function: TaskFunction[Any, Any], limits: Limits) -> Caller:
    """A caller that sends each item as a chunk, and makes the result of all items."""
    invoke = function.invoke

    async def call(attempt: Attempt, arguments: msgspec.Struct) -> Any:
        emitter, generator = attempt.output, invoke(arguments)
        if attempt.number > 1:
            await emitter.reset()
        items = Items.of(function, limits)
        try:
            async for item in generator:
                await emitter.emit(CHUNK, items.add(item))
        finally:
            await generator.aclose()
        await emitter.flush()
        return items.result_of(attempt)

    return call
