"""Worker: starts the roles, and stops them in the right order."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from castwork.model.errors import ConnectionFailed, DefinitionError, ServerRefused
from castwork.model.settings import Limits, WorkerSettings
from castwork.redis.connections import Connections
from castwork.redis.keys import WorkerKeys
from castwork.tasks.attempt import STOP
from castwork.tasks.consumer import Consumer
from castwork.tasks.heartbeat import LISTED, Heartbeat, RunningTask, WorkerInfo, describe_process
from castwork.tasks.lease import LeaseKeeper
from castwork.tasks.queue import Queue
from castwork.tasks.registry import Registry
from castwork.tasks.timeouts import Timeouts

logger = logging.getLogger(__name__)

#: What a worker calls before it claims tasks: to load a model, to warm a cache.
StartHook = Callable[[], Awaitable[None] | None]


class Worker:
    """Runs tasks of some queues until it is stopped.

    It has a fresh unique id at every start; a crashed worker is never resumed, its tasks come
    back when their lease runs out.

    Use `run` as the main job of a process, or `async with worker` beside other work.

    Args:
        queues: what to serve.
        on_start: called one after the other before tasks are claimed.
        on_stuck: called, on a thread, when the event loop has been blocked past a task's
            timeout and a lease: the process should be replaced.
    """

    def __init__(
        self,
        connections: Connections,
        registry: Registry,
        queues: Sequence[Queue],
        keys: WorkerKeys,
        settings: WorkerSettings,
        limits: Limits,
        *,
        on_start: Sequence[StartHook] = (),
        on_stuck: Callable[[str], None] | None = None,
    ) -> None:
        if not queues:
            raise DefinitionError("the worker has nothing to do: no task function is registered")
        self.id = ""
        self._connections = connections
        self._registry = registry
        self._queues = list(queues)
        self._keys = keys
        self._settings = settings
        self._limits = limits
        self._on_start = on_start
        self._on_stuck = on_stuck
        self._stopping = asyncio.Event()
        self._background: asyncio.Task[None] | None = None
        #: Set when tasks are being claimed.
        self.started = asyncio.Event()
        self._consumers: list[Consumer] = []

    async def run(self) -> None:
        """Run until `stop` is called, then stop in order.

        Raises:
            ServerUnavailable, AuthenticationFailed, ServerUnsupported: at the start only.
        """
        await self._connections.open()
        for hook in self._on_start:
            if inspect.iscoroutinefunction(hook):
                await hook()
            else:
                await asyncio.to_thread(hook)
        self._started_at = time.time()
        self.id = self._connections.new_worker_id()
        # As many threads as tasks may run, so that none waits for one while its timeout counts;
        # they are started as they are needed.
        most = sum(q.settings.concurrency or self._settings.concurrency for q in self._queues)
        threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="castwork-task")
        consumers = self._consumers = [
            await self._consumer(queue, threads) for queue in self._queues
        ]
        lease = LeaseKeeper(
            self._connections.address,
            self.id,
            [c.serving for c in consumers],
            lease=self._settings.lease,
            on_stuck=self._on_stuck,
        )
        heartbeat = Heartbeat(
            self.id,
            self._keys,
            self._connections.scripts,
            self._connections.commands,
            interval=self._settings.heartbeat,
            describe=self.describe,
        )
        lease.start()
        try:
            async with asyncio.TaskGroup() as roles:
                for consumer in consumers:
                    await consumer.control.start()
                    await consumer.fetcher.create_groups()
                await heartbeat.begin()
                side = [roles.create_task(heartbeat.run())]
                side.append(roles.create_task(Timeouts([c.serving.held for c in consumers]).run()))
                for consumer in consumers:
                    roles.create_task(consumer.fetcher.run())
                    side.append(roles.create_task(consumer.recovery.run()))
                    side.append(roles.create_task(consumer.scheduler.run()))
                self.started.set()
                logger.info("worker %s serves %s", self.id, [q.name for q in self._queues])
                await self._stopping.wait()
                await self._wind_down(consumers)
                for role in side:
                    role.cancel()
        finally:
            await self._hand_back(consumers)
            await self._leave(consumers, lease, heartbeat)
            threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Begin to stop: no new tasks, the running ones get the grace period."""
        self._stopping.set()

    async def __aenter__(self) -> Self:
        self._background = asyncio.create_task(self.run())
        self._background.add_done_callback(self._log_crash)
        started = asyncio.create_task(self.started.wait())
        await asyncio.wait({self._background, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._background.done():
            await self._background
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self.stop()
        if self._background is not None:
            await self._background

    def _log_crash(self, background: asyncio.Task[None]) -> None:
        """Say at once that the worker has ended by an error, not only when its block ends."""
        if not background.cancelled() and background.exception() is not None:
            logger.error("worker %s has crashed", self.id, exc_info=background.exception())

    def describe(self) -> WorkerInfo:
        """What the worker is and does now."""
        host, pid, _ = describe_process()
        running = [
            RunningTask(a.task_id, a.entry.task, a.number, a.started_at)
            for consumer in self._consumers
            for a in consumer.serving.held.attempts
            if a.entry is not None and a.launched_at and not a.finished
        ]
        processed: dict[str, int] = {}
        for consumer in self._consumers:
            for kind, count in consumer.finisher.counts.items():
                processed[kind] = processed.get(kind, 0) + count
        return WorkerInfo(
            self.id,
            host,
            pid,
            self._started_at,
            [q.name for q in self._queues],
            sum(c.serving.slots.capacity for c in self._consumers),
            sum(c.serving.slots.running for c in self._consumers),
            running[:LISTED],
            processed,
        )

    async def _consumer(self, queue: Queue, threads: ThreadPoolExecutor) -> Consumer:
        patience = self._settings.block + 2.0
        link = await self._connections.blocking_link(f"read-{queue.name}", patience=patience)
        return Consumer(
            queue,
            self.id,
            self._registry,
            self._connections,
            link,
            self._settings,
            self._limits,
            threads,
        )

    async def _wind_down(self, consumers: Sequence[Consumer]) -> None:
        """Stop in this order, so that every task ends up stored or handed back.

        1. Fetchers stop: nothing new is claimed.
        2. What has not started goes back to its queue, uncounted.
        3. Running tasks get the grace period; leases are still renewed.
        4. What still runs is cancelled and handed back.
        5. Finishers store what is ready.
        """
        for consumer in consumers:
            await consumer.fetcher.stop()
            consumer.runner.release_waiting()
        tasks = _running(consumers)
        if tasks:
            logger.info("%d tasks get %.0f s to finish", len(tasks), self._settings.grace)
            await asyncio.wait(tasks, timeout=self._settings.grace)
        await self._hand_back(consumers)

    async def _hand_back(self, consumers: Sequence[Consumer]) -> None:
        """End what still runs, hand it back, and store what is ready; also after a crash.

        When the server is away for longer than the grace period, what could not be stored is
        left to the leases: those tasks run again elsewhere.
        """
        for consumer in consumers:
            consumer.announcer.stop()
            consumer.runner.release_waiting()
            for attempt in consumer.serving.held.attempts:
                if not attempt.finished:
                    attempt.end(STOP)
        tasks = _running(consumers)
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)
        try:
            async with asyncio.timeout(max(5.0, self._settings.grace)):
                for consumer in consumers:
                    await consumer.finisher.drain()
        except TimeoutError:
            unstored = sum(len(consumer.serving.held) for consumer in consumers)
            logger.error("%d outcomes could not be stored; those tasks run again", unstored)

    async def _leave(
        self, consumers: Sequence[Consumer], lease: LeaseKeeper, heartbeat: Heartbeat
    ) -> None:
        """End what outlives the tasks: leases last, then the signs that we were here."""
        await lease.stop()
        try:
            async with asyncio.timeout(3.0):
                for consumer in consumers:
                    consumer.control.stop()
                    await consumer.recovery.retire(self.id)
                await heartbeat.leave()
        except (ConnectionFailed, ServerRefused, TimeoutError) as error:
            logger.warning("the worker's traces stay for others to remove: %s", error)
        for consumer in consumers:
            await consumer.link.close()
        logger.info("worker %s has stopped", self.id)


def _running(consumers: Sequence[Consumer]) -> list[asyncio.Task[None]]:
    """The asyncio tasks of the attempts whose code runs."""
    return [
        attempt.runner
        for consumer in consumers
        for attempt in consumer.serving.held.attempts
        if attempt.runner is not None and not attempt.finished
    ]
