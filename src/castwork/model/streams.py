"""Functions that return an async iterator of another's, made async generators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Any

from castwork.model.errors import DefinitionError


def as_stream(function: Callable[..., Any]) -> Callable[..., AsyncGenerator[Any, None]]:
    """Make a function that returns an async iterable, now or when awaited, an async generator.

    An iterator with `aclose()` or `close()`, as those of most SDKs, is closed at the end, also when
    the generator is closed before.
    """

    @functools.wraps(function)
    async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        items = function(*args, **kwargs)
        if inspect.isawaitable(items):
            items = await items
        if not isinstance(items, AsyncIterable):
            raise DefinitionError(
                f"{function.__name__!r} says that it returns an async iterator, and returned"
                f" {type(items).__name__}"
            )
        iterator = aiter(items)
        try:
            async for item in iterator:
                yield item
        finally:
            await _close(iterator)

    return generator


async def _close(iterator: Any) -> None:
    close = getattr(iterator, "aclose", None) or getattr(iterator, "close", None)
    closing = close() if close is not None else None
    if inspect.isawaitable(closing):
        await closing
