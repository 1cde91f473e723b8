"""Control: hears requests to cancel tasks, and that the queue is paused or goes on."""

from __future__ import annotations

import asyncio
import logging

from castwork.model.errors import NotOpen, ServerError
from castwork.store.claims import Claims
from castwork.store.pauses import PAUSED, RESUMED
from castwork.store.place import QueuePlace
from castwork.store.records import CANCEL_WORD
from castwork.worker.attempt import Ending
from castwork.worker.fetcher import Fetcher
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)


class Control:
    """Listens to the control channel of one queue.

    `Task.cancel` repeats the request until the task has ended, so a message that is lost during a
    reconnect delays the cancellation by a second. An entry that waits in a stream which others
    read, too, is noted on the server instead; what was noted during a reconnect is read after it.
    So is whether the queue is paused.

    Args:
        fetcher: told of pauses.
    """

    def __init__(self, workload: Workload, claims: Claims, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._workload = workload
        self._claims = claims
        self._place: QueuePlace = workload.store.place
        self._loading: asyncio.Task[None] | None = None
        self._pauses_heard = 0

    async def start(self) -> None:
        """Begin to listen."""
        await self._place.listen_control(self)
        await self._load()

    def stop(self) -> None:
        """Stop listening."""
        self._place.unlisten_control(self)
        if self._loading is not None:
            self._loading.cancel()

    def on_message(self, payload: bytes) -> None:
        """Cancel a task, if this worker runs it, or once this worker is given it."""
        task_id, _, told = payload.decode(errors="replace").partition("\n")
        word, _, reason = told.partition("\n")
        if word in (PAUSED, RESUMED):
            self._pauses_heard += 1
            self._fetcher.hold(word == PAUSED)
            return
        if word == "unwanted":
            self._workload.unwanted.add(task_id)
        self._cancel(task_id, reason if word == CANCEL_WORD else "")

    def on_resumed(self) -> None:
        """Read what was noted meanwhile; requests to cancel what runs are repeated."""
        self._loading = asyncio.get_running_loop().create_task(self._load_again())

    def _cancel(self, task_id: str, reason: str = "") -> None:
        attempt = self._workload.find(task_id)
        if attempt is not None and not attempt.finished:
            logger.info("task %s is cancelled on request", attempt.task_id)
            attempt.cancel_reason = attempt.cancel_reason or reason
            attempt.end(Ending.CANCEL)

    async def _load(self) -> None:
        while True:
            heard = self._pauses_heard
            is_paused = await self._workload.store.pauses.is_paused()
            if heard == self._pauses_heard:  # else the answer may be older than what was told
                break
        self._fetcher.hold(is_paused)
        if self._place.queue.notes_cancels:
            self._workload.unwanted |= await self._claims.unwanted()

    async def _load_again(self) -> None:
        try:
            await self._load()
        except (NotOpen, ServerError) as error:
            name = self._place.queue.name
            logger.warning("queue %s: cancels and pauses not read: %s", name, error)
            return
        for task_id in self._workload.unwanted:
            self._cancel(task_id)
