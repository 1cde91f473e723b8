"""The routes of tasks: enqueue, look, follow, cancel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from castwork.app import App
from castwork.gateway.errors import GatewayRoute
from castwork.gateway.lookup import find_function, find_task, list_functions
from castwork.gateway.requests import read_json
from castwork.gateway.sse import EventStream, Streams, read_position
from castwork.gateway.task_events import encode_status, follow_task, task_sse
from castwork.model.codec import encode
from castwork.model.errors import ResultTimeout
from castwork.model.states import Priority, TaskState
from castwork.tasks.function import Options
from castwork.tasks.task import Task, status_of

_YEAR = 366 * 86_400

Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the outcome.")]
Delay = Annotated[float, Query(ge=0, le=_YEAR, description="Seconds until it is queued.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A second call with the same key answers with the first one's task.",
    ),
]
After = Annotated[str | None, Query(description="Id of the last event that the client has.")]

_BODY = {
    "requestBody": {
        "description": "The arguments by name; `GET /tasks` has their schemas.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}
}


class TaskRoutes:
    """The routes under `/tasks`.

    Args:
        app: whose tasks.
        streams: where open event streams are kept.
        origins: other sites whose pages may enqueue.
    """

    def __init__(self, app: App, streams: Streams, origins: Sequence[str]) -> None:
        self._app = app
        self._streams = streams
        self._origins = origins

    def router(self) -> APIRouter:
        """Make the router. Queues may have slashes in their names, and so their tasks' ids."""
        router = APIRouter(route_class=GatewayRoute, tags=["tasks"])
        get, post = router.get, router.post
        get("/tasks")(self.list_functions)
        post("/tasks/{task_name:path}", status_code=202, openapi_extra=_BODY)(self.enqueue)
        get("/tasks/{task_id:path}/events", responses=_EVENTS)(self.follow)
        get("/tasks/{task_id:path}")(self.show)
        router.delete("/tasks/{task_id:path}")(self.cancel)
        return router

    async def list_functions(self) -> Response:
        """List the task functions, with their arguments as JSON Schema."""
        functions = [
            {
                "task": function.name,
                "queue": function.queue.name,
                "description": function.__doc__ or "",
                "arguments": function.signature.json_schema(),
            }
            for function in list_functions(self._app)
        ]
        return _json(encode(functions))

    async def enqueue(
        self,
        request: Request,
        task_name: str,
        wait: Wait = 0,
        priority: Priority = Priority.NORMAL,
        delay: Delay = 0,
        idempotency_key: Key = None,
    ) -> Response:
        """Enqueue a call. With `wait`, answer its outcome if it comes in time."""
        function = find_function(self._app, task_name)
        limit = self._app.settings.limits.payload
        arguments = await read_json(request, limit=limit, origins=self._origins) or b"{}"
        function.signature.decode(arguments)
        options: Options = {"priority": priority, "delay": delay}
        if idempotency_key is not None:
            options["key"] = idempotency_key
        task = await function.options(**options).enqueue_encoded(arguments)
        if wait and (outcome := await _wait_for(task, wait)) is not None:
            return _json(outcome)
        state = TaskState.SCHEDULED if delay else TaskState.QUEUED
        if wait or idempotency_key is not None:  # it may have come further by now
            state = (await task.status()).status
        accepted = {"task_id": task.id, "status": state, "queue": task.queue}
        return _json(encode(accepted), 202)

    async def show(self, task_id: str, wait: Wait = 0) -> Response:
        """Tell a task's state, and its result once there is one."""
        task, status = await find_task(self._app, task_id)
        if wait and (status is None or not status.status.is_final):
            outcome = await _wait_for(task, wait)
            if outcome is not None:
                return _json(outcome)
            status = None
        return _json(encode_status(status or await task.status()))

    async def cancel(self, task_id: str, wait: Wait = 10) -> Response:
        """Cancel a task, waiting or running; a running one gets `wait` seconds to let go."""
        task, _ = await find_task(self._app, task_id)
        cancelled = await task.cancel(timeout=wait)
        status = (await task.status()).status
        return _json(encode({"task_id": task.id, "cancelled": cancelled, "status": status}))

    async def follow(self, request: Request, task_id: str, after: After = None) -> Response:
        """Follow a task: `status`, `chunk`, `progress`, `reset`, and `result` at the end.

        A client that reconnects with `Last-Event-ID` misses nothing and gets nothing twice.
        It should close its `EventSource` on `result`, which otherwise connects again.
        """
        position = read_position(request, after)
        task, _ = await find_task(self._app, task_id)
        return EventStream(_pieces(task, position), self._streams)


async def _pieces(task: Task[Any], after: str | None) -> AsyncGenerator[bytes, None]:
    async with aclosing(follow_task(task, after)) as items:
        async for item in items:
            yield task_sse(item)


async def _wait_for(task: Task[Any], seconds: float) -> bytes | None:
    """The outcome as JSON, None if it did not come in time."""
    try:
        record = await task.outcome(seconds)
    except ResultTimeout:
        return None
    return encode_status(status_of(task.id, task.queue, record))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
