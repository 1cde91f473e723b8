"""What wrappers around a task are given: the call that the attempt is of."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.call_options import CallSettings
from castwork.model.entry import Meta
from castwork.tasks.call import Call
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt


def call_of(attempt: Attempt, arguments: msgspec.Struct) -> Call[Any]:
    """The call of a running attempt, with its decoded arguments.

    Args:
        attempt: the attempt.
        arguments: its arguments, defaults included.
    """
    assert attempt.runnable is not None
    return call_with(attempt.runnable.function, attempt.meta, attempt.args, arguments)


def call_with(
    function: TaskFunction[Any, Any], meta: Meta | None, args: bytes, arguments: msgspec.Struct
) -> Call[Any]:
    """A call of a function.

    Args:
        function: the function.
        meta: what the task carries beside its call.
        args: the arguments as JSON.
        arguments: the arguments decoded, defaults included.
    """
    told = CallSettings()
    if meta is not None:
        told = CallSettings(
            owner=meta.owner,
            tenant=meta.tenant,
            labels=tuple(meta.labels.items()),
            headers=tuple(meta.headers.items()),
        )
    values = msgspec.structs.astuple(arguments)
    named = dict(zip(function.signature.parameters, values, strict=True))
    return Call(function, args, told=told, arguments=named)
