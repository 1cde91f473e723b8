"""Calls: a task function by its name, and a call of it, as the world outside says them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from castwork.model.call_options import CallOptions
from castwork.model.codec import encode, encode_value
from castwork.model.errors import InvalidArguments, TaskNotFound, UnknownTask
from castwork.model.signature import Signature
from castwork.model.states import TaskState
from castwork.tasks.catalog import Catalog, Function
from castwork.tasks.task import Task


def find_function(catalog: Catalog, name: str) -> Function:
    """Find a task function.

    Raises:
        UnknownTask: there is none; the error tells names that are close.
    """
    if name not in catalog:
        close = get_close_matches(name, [function.name for function in catalog])
        raise UnknownTask(f"no task function is named {name!r}", close)
    return catalog.get(name)


async def enqueue_call(
    catalog: Catalog, name: str, arguments: bytes | Mapping[str, str], options: CallOptions
) -> tuple[Task[Any], TaskState | None]:
    """Enqueue a call that was checked against the function's signature.

    Args:
        catalog: the task functions that may be called.
        name: the task function.
        arguments: JSON by name; or text by name, of which numbers, booleans and times are read
            as the parameters want them, lists and objects as JSON.
        options: of the call.

    Returns:
        The task and its first status: `scheduled` if it waits for its delay, else `queued`. For
        a task that was there already, under the id or key of the options, its status now; None
        if its record passed its TTL.

    Raises:
        UnknownTask: there is no such function; the error tells names that are close.
        InvalidArguments: the arguments do not fit the signature.
        DefinitionError: an option has no such value.
        PayloadTooLarge, QueueFull, ConnectionFailed: as `TaskFunction.enqueue`.
    """
    function = find_function(catalog, name)
    encoded = check_arguments(function.signature, arguments)
    task = await function.options(**options).enqueue_encoded(encoded)
    if task.created:
        return task, TaskState.SCHEDULED if options.get("delay", 0) > 0 else TaskState.QUEUED
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
    decoded = signature.decode_text(encode(arguments))
    # Only what was given: defaults are those of the worker.
    return encode_value({name: getattr(decoded, name) for name in arguments})
