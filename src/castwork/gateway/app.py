"""The gateway as an ASGI app, and as a router for an app of the user's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse

from castwork.app import App
from castwork.gateway.channels import ChannelRoutes
from castwork.gateway.errors import error_response
from castwork.gateway.hub import Hub
from castwork.gateway.operations import OperationRoutes
from castwork.gateway.requests import BodyLimit
from castwork.gateway.sse import Streams
from castwork.gateway.tasks import TaskRoutes
from castwork.gateway.websocket import socket_router
from castwork.model.errors import CastworkError


def create_gateway(
    app: App,
    *,
    title: str = "castwork",
    max_body: int = 1_000_000,
    page: Path | None = None,
    origins: Sequence[str] = (),
) -> FastAPI:
    """Make a standalone gateway, to which routes of your own can be added.

    castwork's errors that your routes let through are answered by the gateway's table. Event
    streams that are open do not end by themselves: `gateway.state.streams.close()` ends them, for
    the program that stops the server.

    Args:
        app: what to serve; opened and closed with the gateway.
        title: shown at `/docs`.
        max_body: bytes that the body of any request may have, uploads included; beyond, 413.
        page: an HTML file to serve at `/`; without one, `/` lists the routes.
        origins: other sites (`https://example.org`) whose pages may use the gateway.
    """
    streams = Streams()
    gateway = FastAPI(title=title, lifespan=gateway_lifespan(app))
    gateway.state.streams = streams
    gateway.add_exception_handler(CastworkError, _answer_error)
    gateway.add_middleware(BodyLimit, limit=max_body)
    if origins:
        gateway.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["*"], allow_headers=["*"]
        )
    gateway.include_router(gateway_router(app, streams=streams, origins=origins))
    gateway.add_api_route("/", _front(gateway, page), include_in_schema=False)
    return gateway


def gateway_router(
    app: App, *, streams: Streams | None = None, origins: Sequence[str] = ()
) -> APIRouter:
    """Make a router with all of the gateway's routes, for an app of your own.

    Open the castwork app in your app's lifespan, as `gateway_lifespan` does. Bound the bodies of
    your own routes; bodies of the gateway's routes are bound by the app's `Limits.payload`.

    Args:
        app: what to serve.
        streams: where open event streams are kept, so that you can close them.
        origins: other sites whose pages may use the gateway; CORS headers are up to you.
    """
    hub = Hub(app)
    streams = Streams() if streams is None else streams
    router = APIRouter()
    router.include_router(TaskRoutes(app, streams, origins).router())
    router.include_router(ChannelRoutes(app, hub, streams, origins).router())
    router.include_router(OperationRoutes(app, hub, origins).router())
    router.include_router(socket_router(app, hub, origins))
    return router


def gateway_lifespan(
    app: App,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Make a lifespan that opens the app when the server starts, and closes it at the end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with app:
            yield

    return lifespan


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CastworkError)
    return error_response(error)


def _front(gateway: FastAPI, page: Path | None) -> Callable[[], Response]:
    """The route that answers `/`."""

    def show_page() -> Response:
        assert page is not None
        return FileResponse(page, media_type="text/html")

    def list_routes() -> Response:
        return JSONResponse({"title": gateway.title, "routes": sorted(gateway.openapi()["paths"])})

    return list_routes if page is None else show_page
