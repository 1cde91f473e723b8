"""The routes of tasks: enqueue, look, follow, cancel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from inspect import cleandoc
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from castwork.app import App
from castwork.gateway.errors import GatewayRoute
from castwork.gateway.lookup import find_task
from castwork.gateway.requests import LONGEST_DELAY, LONGEST_KEY, read_json
from castwork.gateway.responses import json_response
from castwork.gateway.sse import EventStream, Streams, read_position
from castwork.gateway.task_events import follow_task, public_status, task_sse
from castwork.model.call_options import CallOptions
from castwork.model.errors import ResultTimeout
from castwork.model.record import TaskStatus
from castwork.model.states import Priority
from castwork.tasks.calls import enqueue_call, find_function
from castwork.tasks.task import Task

Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the outcome.")]
Delay = Annotated[
    float, Query(ge=0, le=LONGEST_DELAY, description="Seconds until the task is queued.")
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        description="A second call with the same key answers with the task of the first call.",
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
        app: the app whose tasks these are.
        streams: where open event streams are kept.
        origins: other sites whose pages may enqueue.
    """

    def __init__(self, app: App, streams: Streams, origins: Sequence[str]) -> None:
        self._app = app
        self._streams = streams
        self._origins = origins

    def router(self) -> APIRouter:
        """Make the router. Queues may have slashes in their names, and so may ids of tasks."""
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
                "description": cleandoc(function.__doc__ or ""),
                "arguments": function.signature.json_schema(),
            }
            for function in self._app.tasks
        ]
        return json_response(functions)

    async def enqueue(
        self,
        request: Request,
        task_name: str,
        wait: Wait = 0,
        priority: Priority = Priority.NORMAL,
        delay: Delay = 0,
        cancel_on_disconnect: bool = False,
        idempotency_key: Key = None,
    ) -> Response:
        """Enqueue a call. With `wait`, answer its outcome if that comes in time."""
        # First, so that an unknown name is told even when the body is bad.
        find_function(self._app.tasks, task_name)
        limit = self._app.settings.limits.payload
        arguments = await read_json(request, limit=limit, origins=self._origins) or b"{}"
        options: CallOptions = {"priority": priority, "delay": delay}
        if cancel_on_disconnect:
            options["cancel_on_disconnect"] = True
        if idempotency_key is not None:
            options["key"] = idempotency_key
        task, status = await enqueue_call(self._app.tasks, task_name, arguments, options)
        if wait and status is not None:
            # A task that was there already may have ended before this call.
            outcome = await (task.status() if status.is_final else _wait_for(task, wait))
            if outcome.status.is_final:
                return json_response(public_status(outcome))
            status = outcome.status
        return json_response({"task_id": task.id, "status": status, "queue": task.queue}, 202)

    async def show(self, task_id: str, wait: Wait = 0) -> Response:
        """Tell a task's status, and its result once there is one."""
        task = self._app.get_task(task_id)
        status = await _wait_for(task, wait) if wait else await task.status()
        return json_response(public_status(status))

    async def cancel(self, task_id: str, wait: Wait = 10) -> Response:
        """Cancel a task, waiting or running; a running one gets `wait` seconds to let go."""
        task = self._app.get_task(task_id)
        cancelled = await task.cancel(timeout=wait)
        status = (await task.status()).status
        return json_response({"task_id": task.id, "cancelled": cancelled, "status": status})

    async def follow(self, request: Request, task_id: str, after: After = None) -> Response:
        """Follow a task: `status`, `chunk`, `progress`, `reset`, and `result` at the end.

        A client that reconnects with `Last-Event-ID` misses nothing and gets nothing twice.
        On `result` the client should close its `EventSource`, which otherwise connects again.
        """
        position = read_position(request, after)
        task = await find_task(self._app, task_id)
        return EventStream(_pieces(task, position), self._streams)


async def _pieces(task: Task[Any], after: str | None) -> AsyncGenerator[bytes, None]:
    async with aclosing(follow_task(task, after)) as items:
        async for item in items:
            yield task_sse(item)


async def _wait_for(task: Task[Any], seconds: float) -> TaskStatus:
    """The final status if it comes in time, else the present status."""
    try:
        return await task.wait(seconds)
    except ResultTimeout:
        return await task.status()
