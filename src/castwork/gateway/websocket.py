"""One socket for everything: channels and tasks, in both directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from castwork.app import App
from castwork.gateway.client import Client
from castwork.gateway.errors import ForeignOrigin, TooMany, error_body
from castwork.gateway.hub import Hub
from castwork.gateway.lookup import find_channel, find_function, find_task
from castwork.gateway.requests import check_origin
from castwork.gateway.sse import check_position
from castwork.gateway.task_events import follow_task, task_message
from castwork.model.codec import encode
from castwork.model.errors import CastworkError, InvalidArguments
from castwork.tasks.task import Task

logger = logging.getLogger(__name__)

#: Channels and tasks that one socket may follow at a time.
_FOLLOWED = 1000

_VERBS = ("subscribe", "unsubscribe", "follow", "unfollow", "publish", "enqueue")


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client says: one verb with the name of what it is about.

    Attributes:
        after: id of the last event that the client has; for `subscribe` and `follow`.
        event: the event, for `publish`.
        args: the arguments by name, for `enqueue`.
    """

    subscribe: str | None = None
    unsubscribe: str | None = None
    follow: str | None = None
    unfollow: str | None = None
    publish: str | None = None
    enqueue: str | None = None
    after: str | None = None
    event: msgspec.Raw = msgspec.Raw()
    args: msgspec.Raw = msgspec.Raw(b"{}")


_decode = msgspec.json.Decoder(Request).decode


def parse_request(text: str | bytes) -> tuple[str, str, Request]:
    """Read a message: its verb, what it is about, and all of it.

    Raises:
        InvalidArguments: it is not JSON, or has not exactly one verb.
    """
    try:
        request = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"not a message: {error}") from error
    said = [(verb, name) for verb in _VERBS if (name := getattr(request, verb)) is not None]
    if len(said) != 1:
        raise InvalidArguments(f"a message has one of: {', '.join(_VERBS)}")
    return *said[0], request


class Session:
    """One open socket. What it follows ends with it."""

    def __init__(self, socket: WebSocket, app: App, hub: Hub) -> None:
        self._socket = socket
        self._app = app
        self._hub = hub
        self._followed: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._verbs: dict[str, Callable[[str, Request], Awaitable[None]]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "follow": self._follow,
            "unfollow": self._unfollow,
            "publish": self._publish,
            "enqueue": self._enqueue,
        }

    async def run(self) -> None:
        """Answer messages until the client is gone."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._answer(message.get("text") or message.get("bytes") or b"")
        except WebSocketDisconnect:
            return
        finally:
            tasks = list(self._followed.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, text: str | bytes) -> None:
        about: dict[str, str] | None = None
        try:
            verb, name, request = parse_request(text)
            about = {verb: name}
            await self._verbs[verb](name, request)
        except CastworkError as error:
            await self._send({"type": "error", **error_body(error), "for": about})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(encode(message).decode())

    # -- following ----------------------------------------------------------------------

    async def _subscribe(self, name: str, request: Request) -> None:
        channel = find_channel(self._app, name)
        after = check_position(request.after)
        await self._stop("channel", name)
        self._check_room()
        client = await self._hub.join(channel, after)
        await self._send({"type": "subscribed", "channel": name})
        self._start("channel", name, self._pass_on(client), client.leave)

    async def _unsubscribe(self, name: str, _: Request) -> None:
        await self._stop("channel", name)
        await self._send({"type": "unsubscribed", "channel": name})

    async def _follow(self, task_id: str, request: Request) -> None:
        after = check_position(request.after)
        task, _ = await find_task(self._app, task_id)
        await self._stop("task", task_id)
        self._check_room()
        await self._send({"type": "following", "task_id": task_id})
        self._start("task", task_id, self._pass_on_task(task, after), lambda: None)

    async def _unfollow(self, task_id: str, _: Request) -> None:
        await self._stop("task", task_id)
        await self._send({"type": "unfollowed", "task_id": task_id})

    async def _pass_on(self, client: Client) -> None:
        async with aclosing(client.batches()) as batches:
            async for batch in batches:
                for frame in batch:
                    await self._socket.send_text(frame.message)

    async def _pass_on_task(self, task: Task[Any], after: str | None) -> None:
        async with aclosing(follow_task(task, after)) as items:
            async for item in items:
                await self._socket.send_text(task_message(task.id, item))

    def _check_room(self) -> None:
        if len(self._followed) >= _FOLLOWED:
            raise TooMany(f"one socket follows at most {_FOLLOWED} channels and tasks")

    def _start(
        self,
        kind: str,
        name: str,
        passing_on: Coroutine[Any, Any, None],
        leave: Callable[[], None],
    ) -> None:
        task = asyncio.create_task(passing_on)
        self._followed[kind, name] = task

        def ended(task: asyncio.Task[None]) -> None:
            leave()
            if self._followed.get((kind, name)) is task:
                del self._followed[kind, name]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.info("a socket stopped following %s %s: %s", kind, name, error)

        task.add_done_callback(ended)

    async def _stop(self, kind: str, name: str) -> None:
        task = self._followed.pop((kind, name), None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- sending ------------------------------------------------------------------------

    async def _publish(self, name: str, request: Request) -> None:
        channel = find_channel(self._app, name)
        receipt = await channel.publish(channel.codec.decode(bytes(request.event)))
        published: dict[str, Any] = {"type": "published", "channel": name}
        if channel.keys is None:
            published["subscribers"] = receipt.subscribers
        else:
            published["id"] = receipt.id
        await self._send(published)

    async def _enqueue(self, name: str, request: Request) -> None:
        function = find_function(self._app, name)
        arguments = bytes(request.args)
        function.signature.decode(arguments)
        task = await function.enqueue_encoded(arguments)
        await self._send(
            {"type": "enqueued", "task": name, "task_id": task.id, "queue": task.queue}
        )


def socket_router(app: App, hub: Hub, origins: Sequence[str]) -> APIRouter:
    """Make the router of `WS /ws`.

    Args:
        origins: other sites whose pages may connect; browsers do not ask before they do.
    """
    router = APIRouter()

    @router.websocket("/ws")
    async def serve(socket: WebSocket) -> None:
        try:
            check_origin(socket.headers, origins)
        except ForeignOrigin as error:
            await socket.close(1008, str(error)[:120])
            return
        await socket.accept()
        await Session(socket, app, hub).run()

    return router
