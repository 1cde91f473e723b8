"""The routes of operators: queues, workers, dead letters, probes and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from castwork.app import App
from castwork.gateway.errors import AmbiguousId, GatewayRoute
from castwork.gateway.hub import Hub
from castwork.gateway.metrics import CONTENT_TYPE, Snapshot, write_metrics
from castwork.gateway.requests import read_json
from castwork.model.codec import encode
from castwork.model.errors import CastworkError, TaskNotFound
from castwork.tasks.dead_letters import DeadLetter, DeadLetters

InQueue = Annotated[str | None, Query(description="Name of the queue.")]
Limit = Annotated[int, Query(ge=1, le=1000)]


class OperationRoutes:
    """The routes for those who run the system.

    Args:
        app: what to look at.
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
        router.post("/dead/{letter_id:path}/replay")(self.replay)
        router.delete("/dead/{letter_id:path}")(self.purge)
        router.get("/healthz")(self.tell_alive)
        router.get("/readyz")(self.tell_ready)
        router.get("/metrics")(self.write_metrics)
        return router

    async def list_queues(self) -> Response:
        """List the queues: what waits per lane, runs, is scheduled, is dead."""
        return _json(await self._app.queues())

    async def list_workers(self) -> Response:
        """List the workers: id, process, host, queues, and the tasks that each runs."""
        return _json(await self._app.workers())

    async def list_dead(self, queue: InQueue = None, limit: Limit = 100) -> Response:
        """List the dead letters, the newest first."""
        lists = await asyncio.gather(
            *(letters.list(limit=limit) for letters in await self._letters(queue))
        )
        found = [letter for listed in lists for letter in listed]
        found.sort(key=_age, reverse=True)
        return _json(found[:limit])

    async def replay(self, request: Request, letter_id: str, queue: InQueue = None) -> Response:
        """Queue a dead letter again, named by its id or its task's, with all its attempts."""
        await read_json(request, limit=1000, origins=self._origins)
        letters = await self._find(letter_id, queue)
        task_id = await letters.replay(letter_id)
        return _json({"task_id": task_id, "status": "queued", "queue": letters.queue})

    async def purge(self, letter_id: str, queue: InQueue = None) -> Response:
        """Delete a dead letter, named by its id or its task's."""
        letters = await self._find(letter_id, queue)
        await letters.purge(letter_id)
        return _json({"purged": letter_id, "queue": letters.queue})

    async def tell_alive(self) -> Response:
        """Answer: the process lives. Says nothing of the server."""
        return _json({"alive": True})

    async def tell_ready(self) -> Response:
        """Say whether calls go through: 503 with the reason when not."""
        reason = await self._find_reason()
        if reason:
            return _json({"ready": False, "reason": reason}, 503)
        return _json({"ready": True})

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
            return str(error)
        if not connections.commands.is_connected:
            return f"no connection for commands to {connections.address}"
        if not connections.pushes.is_connected:
            return f"no connection for pushes to {connections.address}"
        return ""

    async def _letters(self, queue: str | None) -> list[DeadLetters]:
        if not self._app.connections.is_open:
            await self._app.connections.open()
        letters = self._app.dead_letters()
        if queue is not None:
            letters = [one for one in letters if one.queue == queue]
            if not letters:
                raise TaskNotFound(f"no queue is named {queue!r}")
        return letters

    async def _find(self, letter_id: str, queue: str | None) -> DeadLetters:
        """Find the one queue that has the dead letter.

        Raises:
            TaskNotFound: none has.
            AmbiguousId: several have one of that id.
        """
        letters = await self._letters(queue)
        found: list[Any] = await asyncio.gather(
            *(one.get(letter_id) for one in letters), return_exceptions=True
        )
        for answer in found:
            if isinstance(answer, BaseException) and not isinstance(answer, TaskNotFound):
                raise answer
        having = [
            one
            for one, answer in zip(letters, found, strict=True)
            if isinstance(answer, DeadLetter)
        ]
        if not having:
            raise TaskNotFound(f"no dead letter {letter_id}")
        if len(having) > 1:
            names = ", ".join(one.queue for one in having)
            raise AmbiguousId(f"dead letters of several queues have that id: {names}; pass queue=")
        return having[0]


def _age(letter: DeadLetter) -> tuple[int, int]:
    ms, _, sequence = letter.id.partition("-")
    return int(ms), int(sequence)


def _json(value: object, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")
