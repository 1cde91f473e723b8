"""Errors over HTTP: one table from castwork's error tree to status codes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from secrets import token_hex
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from castwork.model.codec import encode
from castwork.model.errors import (
    AmbiguousId,
    AuthenticationFailed,
    CastworkError,
    ConnectionFailed,
    DefinitionError,
    EffectUnknown,
    InvalidArguments,
    KeyConflict,
    NotOpen,
    OutOfMemory,
    PayloadTooLarge,
    QueueFull,
    ResultTimeout,
    ServerRefused,
    ServerUnsupported,
    TaskNotFound,
    UndecodableEntry,
    UnknownName,
    UnknownTask,
)

logger = logging.getLogger(__name__)


class UnknownChannel(UnknownName):
    """No channel of that name is declared in this app."""


class BadPosition(CastworkError, ValueError):
    """`Last-Event-ID` or `after` is no id of an event."""


class NotJson(CastworkError):
    """A body whose content type is not JSON."""


class ForeignOrigin(CastworkError):
    """A page of another site sent the request."""


class TooMany(CastworkError):
    """One socket asks to follow more channels and tasks than it may."""


#: Status and name of each error; an entry for the error's own class counts before those of its
#: bases.
_TABLE: dict[type[BaseException], tuple[int, str]] = {
    BadPosition: (400, "bad_position"),
    ForeignOrigin: (403, "foreign_origin"),
    TaskNotFound: (404, "task_not_found"),
    UnknownTask: (404, "unknown_task"),
    UnknownChannel: (404, "unknown_channel"),
    AmbiguousId: (409, "ambiguous_id"),
    KeyConflict: (409, "key_conflict"),
    UndecodableEntry: (409, "undecodable_entry"),
    PayloadTooLarge: (413, "payload_too_large"),
    NotJson: (415, "not_json"),
    InvalidArguments: (422, "invalid_arguments"),
    QueueFull: (429, "queue_full"),
    TooMany: (429, "too_many"),
    ServerRefused: (502, "server_refused"),
    ConnectionFailed: (503, "server_unavailable"),
    EffectUnknown: (503, "effect_unknown"),
    AuthenticationFailed: (503, "authentication_failed"),
    ServerUnsupported: (503, "server_unsupported"),
    OutOfMemory: (503, "server_out_of_memory"),
    NotOpen: (503, "not_open"),
    ResultTimeout: (504, "result_timeout"),
    DefinitionError: (500, "definition_error"),
    CastworkError: (500, "internal_error"),
}


def find_status(error: CastworkError) -> tuple[int, str]:
    """The status code and the name of an error."""
    return next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)


#: What clients are told of errors on our side. The errors themselves name addresses and keys.
_OUTSIDE = {
    "server_refused": "the server behind the gateway refused this",
    "server_unavailable": "the server behind the gateway cannot be reached; try again soon",
    "effect_unknown": "the server behind the gateway did not answer in time; whether this took"
    " effect is unknown",
    "authentication_failed": "the gateway may not use its server",
    "server_unsupported": "the server behind the gateway is not set up for this",
    "server_out_of_memory": "the server behind the gateway is full; try again later",
    "not_open": "the gateway is stopping; try again soon",
    "definition_error": "the gateway's app is declared in a way that cannot work",
    "internal_error": "this failed in the gateway",
}


def outside(error: CastworkError) -> str:
    """An error for clients: its own text, or, with the text in the log, what may be told of it."""
    name = find_status(error)[1]
    if name not in _OUTSIDE:
        return str(error)
    error_id = token_hex(4)
    logger.warning("error %s: %s: %s", error_id, type(error).__name__, error)
    return f"{_OUTSIDE[name]} (the gateway's log has more: error {error_id})"


def error_body(error: CastworkError) -> dict[str, Any]:
    """An error as plain values: `error` (its name), `message`, and `field` or `close`."""
    body: dict[str, Any] = {"error": find_status(error)[1], "message": outside(error)}
    if isinstance(error, InvalidArguments):
        body["field"] = error.field
    elif isinstance(error, UnknownName):
        body["close"] = error.close
    elif isinstance(error, KeyConflict):
        body["task_id"] = error.task_id
    return body


def error_response(error: CastworkError) -> Response:
    """An error as a response; 429 and 503 say when to try again."""
    status, _ = find_status(error)
    headers = {}
    if isinstance(error, QueueFull):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif status == 503:
        headers["Retry-After"] = "1"
    return Response(encode(error_body(error)), status, headers, "application/json")


def _invalid_request(error: RequestValidationError) -> InvalidArguments:
    """What FastAPI found wrong with a query parameter or a header."""
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return InvalidArguments(f"{field}: {first['msg']}", field=field)


class GatewayRoute(APIRoute):
    """A route that answers castwork's errors by the table, in whatever app it is mounted."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler, so that errors that it raises are answered."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except CastworkError as error:
                return error_response(error)
            except RequestValidationError as error:
                return error_response(_invalid_request(error))
            except ClientDisconnect:
                return Response(status_code=400)  # the client is gone, nobody reads the answer

        return guarded
