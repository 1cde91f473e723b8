"""One socket for everything: channels and tasks, in both directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from castwork.app import App
from castwork.gateway.errors import ForeignOrigin, TooMany, error_body
from castwork.gateway.hub import Hub
from castwork.gateway.lookup import find_channel, find_task
from castwork.gateway.messages import Message, parse_message
from castwork.gateway.requests import check_origin
from castwork.gateway.sse import check_position
from castwork.gateway.subscriber import Subscriber
from castwork.gateway.task_events import follow_task, task_message
from castwork.model.codec import encode
from castwork.model.errors import CastworkError
from castwork.tasks.calls import enqueue_call
from castwork.tasks.task import Task

logger = logging.getLogger(__name__)

#: Channels and tasks that one socket may follow at a time.
_FOLLOWED = 1000


class Socket:
    """One open socket. When the socket closes, all that it follows ends."""

    def __init__(self, connection: WebSocket, app: App, hub: Hub) -> None:
        self._connection = connection
        self._app = app
        self._hub = hub
        self._followed: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._verbs: dict[str, Callable[[str, Message], Awaitable[None]]] = {
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
                frame = await self._connection.receive()
                if frame["type"] == "websocket.disconnect":
                    return
                await self._answer(frame.get("text") or frame.get("bytes") or b"")
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
            verb, name, message = parse_message(text)
            about = {verb: name}
            await self._verbs[verb](name, message)
        except CastworkError as error:
            await self._send({"type": "error", **error_body(error), "for": about})

    async def _send(self, answer: dict[str, Any]) -> None:
        await self._connection.send_text(encode(answer).decode())

    # -- following ----------------------------------------------------------------------

    async def _subscribe(self, name: str, message: Message) -> None:
        channel = find_channel(self._app, name)
        after = check_position(message.after)
        await self._stop("channel", name)
        self._check_room()
        subscriber = await self._hub.join(channel, after)
        try:
            begins = {"id": subscriber.position} if subscriber.position else {}
            await self._send({"type": "subscribed", "channel": name, **begins})
        except BaseException:
            subscriber.leave()
            raise
        self._start("channel", name, self._pass_on(subscriber), subscriber.leave)

    async def _unsubscribe(self, name: str, _: Message) -> None:
        await self._stop("channel", name)
        await self._send({"type": "unsubscribed", "channel": name})

    async def _follow(self, task_id: str, message: Message) -> None:
        after = check_position(message.after)
        task = await find_task(self._app, task_id)
        await self._stop("task", task_id)
        self._check_room()
        await self._send({"type": "following", "task_id": task_id})
        self._start("task", task_id, self._pass_on_task(task, after), lambda: None)

    async def _unfollow(self, task_id: str, _: Message) -> None:
        await self._stop("task", task_id)
        await self._send({"type": "unfollowed", "task_id": task_id})

    async def _pass_on(self, subscriber: Subscriber) -> None:
        async with aclosing(subscriber.batches()) as batches:
            async for batch in batches:
                for frame in batch:
                    await self._connection.send_text(frame.message)

    async def _pass_on_task(self, task: Task[Any], after: str | None) -> None:
        async with aclosing(follow_task(task, after)) as items:
            async for item in items:
                await self._connection.send_text(task_message(task.id, item))

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

    async def _publish(self, name: str, message: Message) -> None:
        channel = find_channel(self._app, name)
        receipt = await channel.publish(channel.codec.decode(bytes(message.event)))
        published: dict[str, Any] = {"type": "published", "channel": name}
        if channel.has_history:
            published["id"] = receipt.id
        else:
            published["subscribers"] = receipt.subscribers
        await self._send(published)

    async def _enqueue(self, name: str, message: Message) -> None:
        arguments = bytes(message.args)
        task, status = await enqueue_call(self._app.tasks, name, arguments, message.options)
        told = {"task": name, "task_id": task.id, "queue": task.queue, "status": status}
        await self._send({"type": "enqueued", **told})


def socket_router(app: App, hub: Hub, origins: Sequence[str]) -> APIRouter:
    """Make the router of `WS /ws`.

    Args:
        origins: other sites whose pages may connect; browsers connect without asking first.
    """
    router = APIRouter()

    @router.websocket("/ws")
    async def serve(connection: WebSocket) -> None:
        try:
            check_origin(connection.headers, origins)
        except ForeignOrigin as error:
            await connection.close(1008, str(error)[:120])
            return
        await connection.accept()
        await Socket(connection, app, hub).run()

    return router
