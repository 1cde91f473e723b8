"""The routes of channels: publish, and listen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from castwork.app import App
from castwork.gateway.errors import GatewayRoute
from castwork.gateway.hub import Hub
from castwork.gateway.lookup import find_channel
from castwork.gateway.requests import read_json
from castwork.gateway.responses import json_response
from castwork.gateway.sse import EventStream, Streams, read_position, sse_position
from castwork.gateway.subscriber import Subscriber
from castwork.model.errors import InvalidArguments

Applied = Annotated[
    float, Query(ge=0, le=60, description="Seconds to wait until all processes have handled it.")
]
After = Annotated[str | None, Query(description="Id of the last event that the client has.")]

_BODY = {
    "requestBody": {
        "description": "The event, of the channel's type.",
        "content": {"application/json": {"schema": {}}},
        "required": True,
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}
}


class ChannelRoutes:
    """The routes under `/channels`.

    Args:
        app: the app whose channels these are.
        hub: shares one subscription of a channel among its subscribers.
        streams: where open event streams are kept.
        origins: other sites whose pages may publish.
    """

    def __init__(self, app: App, hub: Hub, streams: Streams, origins: Sequence[str]) -> None:
        self._app = app
        self._hub = hub
        self._streams = streams
        self._origins = origins

    def router(self) -> APIRouter:
        """Make the router."""
        router = APIRouter(route_class=GatewayRoute, tags=["channels"])
        router.get("/channels")(self.list_channels)
        router.get("/channels/{name:path}/events", responses=_EVENTS)(self.listen)
        router.post("/channels/{name:path}", status_code=202, openapi_extra=_BODY)(self.publish)
        return router

    async def list_channels(self) -> Response:
        """List the channels; `history` says how many events each keeps."""
        channels = [
            {"channel": channel.name, "history": channel.history}
            for channel in self._app.channels.values()
        ]
        return json_response(channels)

    async def publish(self, request: Request, name: str, applied: Applied = 0) -> Response:
        """Publish an event. With `applied`, say which processes have handled the event."""
        channel = find_channel(self._app, name)
        if applied and not channel.has_history:
            raise InvalidArguments(
                f"channel {name!r} has no history, so nobody can tell who applied its events",
                field="applied",
            )
        limit = self._app.settings.limits.payload
        body = await read_json(request, limit=limit, origins=self._origins)
        receipt = await channel.publish(channel.codec.decode(body))
        if applied:
            result = await receipt.applied(timeout=applied)
            return json_response({"channel": name, "id": receipt.id, **asdict(result)})
        if not channel.has_history:
            return json_response({"channel": name, "subscribers": receipt.subscribers}, 202)
        return json_response({"channel": name, "id": receipt.id}, 202)

    async def listen(self, request: Request, name: str, after: After = None) -> Response:
        """Listen to a channel; `resync` says that events are missing for good.

        On a channel with history a client that reconnects with `Last-Event-ID` misses nothing
        and gets nothing twice. `after=0` begins with the oldest event that is kept.
        """
        channel = find_channel(self._app, name)
        subscriber = await self._hub.join(channel, read_position(request, after))
        return EventStream(_pieces(subscriber), self._streams, subscriber.leave)


async def _pieces(subscriber: Subscriber) -> AsyncGenerator[bytes, None]:
    if subscriber.position:  # so that a client which is cut off at once can go on from here
        yield sse_position(subscriber.position)
    async with aclosing(subscriber.batches()) as batches:
        async for batch in batches:
            yield b"".join([frame.sse for frame in batch])
