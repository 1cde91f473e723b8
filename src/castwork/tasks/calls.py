"""Calls: enqueues by the name of a task function, for HTTP, sockets and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from castwork.model.call_options import CallOptions
from castwork.model.codec import encode_value
from castwork.model.errors import InvalidArguments, TaskNotFound, UnknownTask
from castwork.model.option_values import seconds
from castwork.model.signature import Signature
from castwork.model.states import TaskState
from castwork.tasks.catalog import Catalog, Function
from castwork.tasks.task import Task


def find_function(catalog: Catalog, name: str) -> Function:
    """Find a task function.

    Raises:
        UnknownTask: there is none; the error has names that look alike.
    """
    if name not in catalog:
        from difflib import get_close_matches  # noqa: PLC0415 - needed for an error only

        close = get_close_matches(name, [function.name for function in catalog])
        raise UnknownTask(f"no task function is named {name!r}", close)
    return catalog.get(name)


async def enqueue_call(
    catalog: Catalog, name: str, arguments: bytes | Mapping[str, str], options: CallOptions
) -> tuple[Task[Any], TaskState | None]:
    """Check a call against the function's signature, and enqueue it.

    Args:
        catalog: the task functions that may be called.
        name: the task function.
        arguments: JSON by name, or text by name. From text, numbers, booleans and times are read
            as the parameters' types say, lists and objects as JSON.
        options: the options of the call.

    Returns:
        The task and its first status: `scheduled` if it waits for its delay, else `queued`. If
        the id or key of the options belongs to an earlier task, that task and its present
        status, None if its record passed its TTL.

    Raises:
        UnknownTask: there is no such function; the error has names that look alike.
        InvalidArguments: the arguments do not fit the signature.
        DefinitionError: an option has no such value.
        PayloadTooLarge, QueueFull, ConnectionFailed: as `TaskFunction.enqueue`.
    """
    function = find_function(catalog, name)
    encoded = check_arguments(function.signature, arguments)
    task = await function.options(**options).enqueue_encoded(encoded)
    if task.created:
        waits = seconds("delay", options.get("delay", 0)) > 0
        return task, TaskState.SCHEDULED if waits else TaskState.QUEUED
    try:
        return task, (await task.status()).status
    except TaskNotFound:
        return task, None


def check_arguments(signature: Signature, arguments: bytes | Mapping[str, str]) -> bytes:
    """Check arguments, and return them as JSON by name.

    Raises:
        InvalidArguments: they do not fit the signature; `field` names the culprit.
    """
    if isinstance(arguments, bytes):
        signature.decode(arguments)
        return arguments
    known = signature.parameters
    for name in arguments:
        if name not in known:
            raise InvalidArguments(
                f"no parameter {name!r}; there are: {', '.join(known) or 'none'}", field=name
            )
    decoded = signature.decode_text(encode_value(arguments))
    # Only the arguments that were given: the worker fills in defaults of its own.
    values = dict(zip(known, msgspec.structs.astuple(decoded), strict=True))
    return encode_value({name: values[name] for name in arguments})
