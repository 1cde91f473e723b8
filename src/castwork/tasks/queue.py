"""Queue: what `app.queue` returns, to look at a queue and to hold, empty or await it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from castwork.model.errors import ResultTimeout, TaskNotFound
from castwork.model.option_values import Seconds, patience
from castwork.store.look import QueueInfo, look_at_queue
from castwork.store.queue_store import QueueStore
from castwork.tasks.dead_letters import DeadLetters
from castwork.tasks.task import Task

#: Seconds between looks whether a queue is idle: at first, and at most.
_SOONEST, _LATEST = 0.02, 0.5


class Queue:
    """A named line of tasks; each task goes to exactly one worker.

    Args:
        name: the queue's name.
        find: its store; looked up when it is needed, as the queue may adopt a stream by then.

    Attributes:
        name: the queue's name.
    """

    def __init__(self, name: str, find: Callable[[], QueueStore]) -> None:
        self.name = name
        self._find = find

    def __repr__(self) -> str:
        return f"Queue({self.name!r})"

    @property
    def _store(self) -> QueueStore:
        return self._find()

    @property
    def dead_letters(self) -> DeadLetters:
        """Its tasks that ran out of attempts, or can never run."""
        return DeadLetters(self._store)

    async def info(self) -> QueueInfo:
        """What waits and runs.

        Raises:
            ConnectionFailed: no server in time.
        """
        return await look_at_queue(self._store.place, self._store.unserved)

    async def pause(self) -> None:
        """Let no worker begin a task; what runs goes on, and more may be enqueued.

        It lasts until `resume`, also over restarts of workers, and of a server that keeps its data.
        A worker that is being given a task at this moment hands it back.

        Raises:
            ConnectionFailed: no server in time.
        """
        await self._store.pauses.pause()

    async def resume(self) -> None:
        """Let workers begin tasks again. Raises as `pause`."""
        await self._store.pauses.resume()

    async def purge(self) -> int:
        """Cancel all tasks that wait, those for a time included; return how many.

        Those that run go on. The tasks end as `cancelled`, and whoever waits for them is told.

        Raises:
            ConnectionFailed: no server in time; the tasks until then are cancelled.
        """
        count = 0
        async for ids in self._store.waiting.ids():
            count += sum(await asyncio.gather(*map(self._cancel, ids)))
        return count

    async def _cancel(self, task_id: str) -> bool:
        try:
            return await Task(task_id, self._store, bytes).cancel(timeout=0)
        except TaskNotFound:  # it has ended meanwhile
            return False

    async def until_idle(self, timeout: Seconds | None = None) -> None:
        """Wait until no task waits for a worker and none runs; those that wait for a time may.

        Args:
            timeout: seconds or a `timedelta`, None for no bound.

        Raises:
            ResultTimeout: there are tasks still.
            ConnectionFailed: no server in time.
        """
        bound = patience("timeout", timeout)
        until = None if bound is None else time.monotonic() + bound
        wait = _SOONEST
        while (info := await self.info()).depth or info.due:
            if until is not None and time.monotonic() >= until:
                raise ResultTimeout(
                    f"queue {self.name}: {info.depth} tasks wait or run after {bound:g} s"
                )
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LATEST)
