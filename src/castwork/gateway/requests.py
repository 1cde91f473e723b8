"""Reads requests: bounds bodies, and refuses requests that pages of other sites send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from castwork.gateway.errors import ForeignOrigin, NotJson, error_response
from castwork.model.errors import PayloadTooLarge

#: Bounds for callers from outside: seconds of a delay, characters of an idempotency key.
LONGEST_DELAY = 366 * 86_400
LONGEST_KEY = 255


class BodyLimit:
    """Answers 413 to every request whose body is over the limit, multipart uploads included.

    A declared length is checked before anything is read; a streamed body is counted.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._limit:
            await error_response(self._too_large(int(declared)))(scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, refused, answered = 0, False, False

        async def counted() -> Message:
            nonlocal size, refused
            message = await receive()
            size += len(message.get("body", b""))
            if size <= self._limit:
                return message
            if not refused and not answered:
                refused = True
                await error_response(self._too_large(size))(scope, receive, send)
            return {"type": "http.disconnect"}  # the app stops reading: the request is answered

        async def once(message: Message) -> None:
            nonlocal answered
            answered = True
            if not refused:
                await send(message)

        try:
            await self._app(scope, counted, once)
        except Exception:
            if not refused:
                raise

    def _too_large(self, size: int) -> PayloadTooLarge:
        return PayloadTooLarge("the request's body", size, self._limit)


async def read_json(request: Request, *, limit: int, origins: Sequence[str]) -> bytes:
    """Read a JSON body, which may be absent.

    Browsers let a page send other content than JSON to any site without asking that site first. So
    a body needs the content type of JSON, and a request without that type must not come from a
    page of another site.

    Raises:
        PayloadTooLarge: the body is over `limit` bytes.
        NotJson: the body has another content type.
        ForeignOrigin: there is no content type, and a page of another origin sent the request.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise PayloadTooLarge("the request's body", int(declared), limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise PayloadTooLarge("the request's body", size, limit)
        parts.append(part)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        if size:
            raise NotJson(f"the content type is {kind!r}: send application/json")
        check_origin(request.headers, origins)
    return b"".join(parts)


def check_origin(headers: Mapping[str, str], origins: Sequence[str]) -> None:
    """Refuse a request of another site's page that the browser sent without asking us first.

    Raises:
        ForeignOrigin: the `Origin` is neither this host nor one of `origins`.
    """
    origin = headers.get("origin")
    if origin is None or origin in origins or "*" in origins:
        return
    if urlsplit(origin).netloc != headers.get("host", ""):
        raise ForeignOrigin(f"pages of {origin} may not use this gateway: see `origins`")
