"""Results that the code of a stream gives apart from its items."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.codec import encode_value
from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.tasks.function import TaskFunction


def result_given(function: TaskFunction[..., Any], value: Any) -> msgspec.Raw:
    """The result that a function has set, as JSON, checked as its caller will decode it.

    Raises:
        DefinitionError: the function is not declared with `result=`.
        InvalidArguments: the value is not of the type that is declared there.
    """
    kind = function.settings.result
    if kind is None:
        raise DefinitionError(
            f"task {function.name!r} sets a result: declare its type, @app.task(result=...) on a"
            " generator; another function returns its result"
        )
    try:
        raw = encode_value(value)
        function.decode_result(raw)
    except Exception as error:  # of msgspec, or of a type's own code
        raise InvalidArguments(
            f"the result of task {function.name!r} is not of the declared type: {error}",
            field="result",
        ) from error
    return msgspec.Raw(raw)
