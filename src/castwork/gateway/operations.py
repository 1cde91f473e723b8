"""The routes of operators: queues, workers, dead letters, probes and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from castwork.app import App
from castwork.gateway.errors import GatewayRoute, outside
from castwork.gateway.hub import Hub
from castwork.gateway.metrics import CONTENT_TYPE, Snapshot, write_metrics
from castwork.gateway.requests import read_json
from castwork.gateway.responses import json_response
from castwork.gateway.sse import check_position
from castwork.model.errors import CastworkError, InvalidArguments, TaskNotFound
from castwork.model.position import Position
from castwork.model.states import TaskState
from castwork.tasks.dead_letters import DeadLetter, DeadLetters, find_letter

InQueue = Annotated[str | None, Query(description="Name of the queue.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str, Query(description="Id of the last letter of the page before.")]


class OperationRoutes:
    """The routes for those who run the system.

    Args:
        app: the app to look at.
        hub: counted in the metrics.
        origins: other sites whose pages may replay dead letters.
    """

    def __init__(self, app: App, hub: Hub, origins: Sequence[str]) -> None:
        self._app = app
        self._hub = hub
        self._origins = origins

    def router(self) -> APIRouter:
        """Make the router."""
        router = APIRouter(route_class=GatewayRoute, tags=["operations"])
        router.get("/queues")(self.list_queues)
        router.get("/workers")(self.list_workers)
        router.get("/dead")(self.list_dead)
        router.get("/dead/groups")(self.list_dead_groups)
        router.post("/dead/{letter_id:path}/replay")(self.replay)
        router.delete("/dead/{letter_id:path}")(self.purge)
        router.get("/healthz")(self.tell_alive)
        router.get("/readyz")(self.tell_ready)
        router.get("/metrics")(self.write_metrics)
        return router

    async def list_queues(self) -> Response:
        """List the queues: what waits per lane, runs, is scheduled, is dead."""
        return json_response(await self._app.queues())

    async def list_workers(self) -> Response:
        """List the workers: id, process, host, queues, and the tasks that each runs."""
        return json_response(await self._app.workers())

    async def list_dead(
        self, queue: InQueue = None, limit: Limit = 100, after: After = ""
    ) -> Response:
        """List the dead letters, the newest first; long values of their entries are cut."""
        if after and queue is None:
            raise InvalidArguments("after: ids belong to one queue, name it, too", field="after")
        after = check_position(after) or ""
        found: list[DeadLetter] = []
        for letters in self._letters(queue):  # one by one: each page may hold megabytes
            found += await letters.list(limit=limit, after=after)
        found.sort(key=lambda letter: Position.parse(letter.id), reverse=True)
        return json_response(found[:limit])

    async def list_dead_groups(self, queue: InQueue = None) -> Response:
        """Count the dead letters by function and error, per queue the most first."""
        return json_response(
            [
                {"queue": letters.queue, **msgspec.structs.asdict(group)}
                for letters in self._letters(queue)
                for group in await letters.groups()
            ]
        )

    async def replay(self, request: Request, letter_id: str, queue: InQueue = None) -> Response:
        """Queue a dead letter again, named by its id or its task's, with all its attempts."""
        await read_json(request, limit=1000, origins=self._origins)
        letters, letter = await find_letter(self._letters(queue), letter_id)
        task_id = await letters.replay(letter.id)
        status = TaskState.QUEUED
        return json_response({"task_id": task_id, "status": status, "queue": letters.queue})

    async def purge(self, letter_id: str, queue: InQueue = None) -> Response:
        """Delete a dead letter, named by its id or its task's."""
        letters, letter = await find_letter(self._letters(queue), letter_id)
        await letters.purge(letter.id)
        return json_response({"purged": letter_id, "queue": letters.queue})

    async def tell_alive(self) -> Response:
        """Answer that the process lives, whether or not the server can be reached."""
        return json_response({"alive": True})

    async def tell_ready(self) -> Response:
        """Say whether calls go through: 503 with the reason when not."""
        reason = await self._find_reason()
        if reason:
            return json_response({"ready": False, "reason": reason}, 503)
        return json_response({"ready": True})

    async def write_metrics(self) -> Response:
        """Write the metrics for Prometheus."""
        queues, workers = await asyncio.gather(self._app.queues(), self._app.workers())
        text = write_metrics(Snapshot(queues, workers, len(self._hub)))
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    async def _find_reason(self) -> str:
        """Why calls would not go through; empty when they would."""
        connections = self._app.connections
        try:
            if not connections.is_open:
                await connections.open()
        except CastworkError as error:
            return outside(error)
        if not all(link.is_connected for link in connections.links()):
            return "no connection for commands"
        if not connections.pushes.is_connected:
            return "no connection for pushes"
        return ""

    def _letters(self, queue: str | None) -> list[DeadLetters]:
        """The dead letters of all queues, or of one. Raises TaskNotFound."""
        letters = self._app.dead_letters()
        if queue is not None:
            letters = [one for one in letters if one.queue == queue]
            if not letters:
                raise TaskNotFound(f"no queue is named {queue!r}")
        return letters
