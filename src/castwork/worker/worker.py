"""Worker: starts the roles, and stops them in the right order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from castwork.model.errors import DefinitionError, ServerError
from castwork.model.settings import AppSettings
from castwork.model.worker_info import LISTED, RunningTask, WorkerInfo
from castwork.model.worker_options import WorkerSettings
from castwork.redis.connections import Connections
from castwork.store.members import Members
from castwork.store.place import RegisterPlace
from castwork.store.queue_store import QueueStore
from castwork.store.reads import BlockingReads
from castwork.store.register import Register
from castwork.tasks.catalog import Catalog, Served
from castwork.tasks.chain import Chain
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.bound import Bound
from castwork.worker.callers.choose import Callers
from castwork.worker.heartbeat import Heartbeat
from castwork.worker.hung import Hung
from castwork.worker.journal import tell_served
from castwork.worker.lease import LeaseKeeper
from castwork.worker.lending import task_threads
from castwork.worker.preparation import Preparation
from castwork.worker.processes.pool import Pool
from castwork.worker.quarantine import Quarantine
from castwork.worker.queue_roles import QueueRoles
from castwork.worker.reader import Reader
from castwork.worker.strangers import warn_of_strangers
from castwork.worker.timeouts import Timeouts
from castwork.worker.watchdog import Watchdog
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)


class Worker:
    """Runs tasks of some queues until it is stopped.

    A worker has a fresh unique id at every start. A crashed worker is never resumed; its tasks come
    back when their lease runs out.

    Use `run` as the main job of a process, or `async with worker` beside other work.

    Args:
        catalog: the task functions.
        served: the queues to serve.
        settings: how the worker behaves.
        app_settings: namespace and bounds.
        around: the wrappers that are called around each task.
        preparation: what is done before tasks are claimed, and undone behind the last.
        on_stuck: called with the reason when the process should be replaced. The event loop has
            been blocked past a task's timeout and a lease: then it is called on a thread. Or plain
            functions that hang have taken all slots of a queue for a lease: then the worker first
            stops, and hands back its other tasks.

    Attributes:
        id: unique for this start; empty before.
        mark: what the supervisor of this process calls this start, told on the register.
        started: set when tasks are being claimed.
    """

    def __init__(
        self,
        connections: Connections,
        catalog: Catalog,
        served: Served,
        settings: WorkerSettings,
        app_settings: AppSettings,
        *,
        around: Chain,
        preparation: Preparation,
        on_stuck: Callable[[str], None] | None = None,
    ) -> None:
        if not served.stores:
            raise DefinitionError("the worker has nothing to do: no task function is registered")
        self.id = ""
        self.mark = ""
        self.started = asyncio.Event()
        self._connections = connections
        self._catalog = catalog
        self._stores = served.stores
        self._in_order = served.in_order
        self._settings = settings
        self._app_settings = app_settings
        self._around = around
        self._preparation = preparation
        self._on_stuck = on_stuck
        self._stopping = asyncio.Event()
        self._background: asyncio.Task[None] | None = None
        self._queues: list[QueueRoles] = []
        self._readers: list[Reader] = []
        self._heartbeat: Heartbeat | None = None
        self._stored_by: float | None = None
        self._stuck = ""

    async def run(self) -> None:
        """Run until `stop` is called, then stop in order.

        Raises:
            ServerUnavailable, AuthenticationFailed, ServerUnsupported: at the start only.
        """
        await self._connections.open()
        try:
            if await self._preparation.begin(self._stopping):
                await self._run_prepared()
            else:
                logger.info("stopped before it began")
        finally:
            await self._preparation.end()
        if self._stuck and self._on_stuck is not None:
            self._on_stuck(self._stuck)

    async def _run_prepared(self) -> None:
        self._started_at = time.time()
        self.id = self._connections.new_worker_id()
        threads = task_threads(self._all_slots)
        served = [one for one in self._catalog if one.store in self._stores]
        self._pool = Pool.of(self._settings, served)
        try:
            await self._make_roles(threads)
            await self._serve()
        finally:
            for reader in self._readers:
                await reader.close()
            threads.shutdown(wait=False, cancel_futures=True)
            await self._pool.close()

    def _stop_stuck(self, reason: str) -> None:
        """Stop as only a new process helps; without anyone to replace this one, go on."""
        if self._on_stuck is not None:
            self._stuck = reason
            self.stop()

    @property
    def silent_for(self) -> float:
        """Seconds since the server last took a sign of life; 0 before the first."""
        beat = self._heartbeat
        return 0.0 if beat is None else time.monotonic() - beat.beaten_at

    def stop(self) -> None:
        """Begin to stop: no new tasks, the running ones get the grace period."""
        self._stopping.set()

    async def lose(self) -> None:
        """Let go of all tasks without a word, as if the process had been killed: for tests.

        What runs is ended, and its outcome dropped; its leases run out.
        """
        for queue in self._queues:
            for attempt in queue.workload.attempts:
                attempt.end(Ending.LOST)
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        self._background = asyncio.create_task(self.run())
        self._background.add_done_callback(self._log_crash)
        started = asyncio.create_task(self.started.wait())
        try:
            await asyncio.wait({self._background, started}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # then nobody leaves the block, and nobody else stops it
            self.stop()
            await asyncio.wait({self._background})
            raise
        finally:
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
        """Log at once that an error has ended the worker; `__aexit__` raises it only later."""
        if not background.cancelled() and background.exception() is not None:
            logger.error("worker %s has crashed", self.id, exc_info=background.exception())

    # -- making -------------------------------------------------------------------------

    def _capacity(self, store: QueueStore) -> int:
        most = self._settings.concurrency
        return min(store.queue.settings.concurrency or most, most)

    @property
    def _all_slots(self) -> int:
        """Tasks that run at once, of all queues together."""
        return min(sum(map(self._capacity, self._stores)), self._settings.concurrency)

    async def _make_roles(self, threads: ThreadPoolExecutor) -> None:
        limits = self._app_settings.limits
        callers = Callers(threads, self._pool, limits, self._around)
        shared: Reader | None = None
        bound = None
        if len(self._stores) > 1:
            bound = Bound(self._all_slots, in_order=self._in_order)
        workloads = [
            Workload(store, self.id, self._capacity(store), bound) for store in self._stores
        ]
        quarantine = Quarantine(workloads, patience=self._settings.lease * 4)
        for workload in workloads:
            store = workload.store
            joins = store.queue.stream is None and self._connections.joins_slots
            reader = shared if joins and shared is not None else await self._make_reader(store)
            if joins:
                shared = reader
            self._queues.append(
                QueueRoles(
                    workload, self._catalog, callers, reader, quarantine, self._settings, limits
                )
            )

    async def _make_reader(self, store: QueueStore) -> Reader:
        """A reader with a connection of its own.

        Where one read may name several slots, all queues of castwork's own share a reader. An
        adopted stream has a group of its own, and so needs a reader of its own.
        """
        patience = self._settings.block + 2.0
        name = f"read-{store.queue.name}"
        link = await self._connections.dedicated(store.place.slot, name, patience=patience)
        reader = Reader(BlockingReads(link, self.id), block=self._settings.block)
        self._readers.append(reader)
        return reader

    # -- running ------------------------------------------------------------------------

    async def _serve(self) -> None:
        workloads = [queue.workload for queue in self._queues]
        lease_time = self._settings.lease
        watchdog = Watchdog(workloads, lease=lease_time, on_stuck=self._on_stuck)
        lease = LeaseKeeper(self._connections, workloads, watchdog, lease=lease_time)
        place = RegisterPlace(self._connections, self._app_settings.namespace)
        members = Members.of_workers(place)
        self._heartbeat = heartbeat = Heartbeat(
            members,
            self.id,
            interval=self._settings.heartbeat,
            describe=self.describe,
        )
        lease.start()
        try:
            async with asyncio.TaskGroup() as roles:
                for queue in self._queues:
                    await queue.control.start()
                    await queue.claims.create_groups()
                await heartbeat.begin()
                await warn_of_strangers(Register(place), self.describe())
                side = self._start_roles(roles, heartbeat)
                hung = Hung(
                    workloads,
                    slots=self._all_slots,
                    patience=lease_time,
                    on_stuck=self._stop_stuck,
                )
                side += [roles.create_task(role.run()) for role in (Timeouts(workloads), hung)]
                self.started.set()
                tell_served(self.id, self._stores, self._catalog)
                await self._stopping.wait()
                await self._wind_down()
                for role in side:
                    role.cancel()
        finally:
            await self._hand_back()
            await self._leave(lease, heartbeat)

    def _start_roles(
        self, roles: asyncio.TaskGroup, heartbeat: Heartbeat
    ) -> list[asyncio.Task[None]]:
        """Start all roles; return those that are cancelled when the tasks are done."""
        side = [roles.create_task(heartbeat.run())]
        for reader in self._readers:
            roles.create_task(reader.run())
        for queue in self._queues:
            roles.create_task(queue.fetcher.run())
            side.append(roles.create_task(queue.recovery.run()))
            side.append(roles.create_task(queue.scheduler.run()))
            side.append(roles.create_task(queue.waker.run()))
            side.append(roles.create_task(queue.attendance.run()))
            if queue.workload.queue.stream is None:
                side.append(roles.create_task(queue.ticker.run()))
        return side

    def describe(self) -> WorkerInfo:
        """What the worker is, and which tasks it runs now."""
        running = [
            RunningTask(a.task_id, a.task, a.number, a.started_at)
            for queue in self._queues
            for a in queue.workload.attempts
            if a.launched_at and not a.finished
        ]
        processed: dict[str, int] = {}
        for queue in self._queues:
            for kind, count in queue.finisher.counts.items():
                processed[kind] = processed.get(kind, 0) + count
        return WorkerInfo(
            self.id,
            socket.gethostname(),
            os.getpid(),
            self._started_at,
            [store.queue.name for store in self._stores],
            self._all_slots,
            sum(queue.workload.running for queue in self._queues),
            running[:LISTED],
            processed,
            functions=sorted(function.name for function in self._catalog)[:LISTED],
            mark=self.mark,
        )

    # -- stopping -----------------------------------------------------------------------

    async def _wind_down(self) -> None:
        """Stop in this order, so that every task ends up stored or handed back.

        1. Fetchers stop: nothing new is claimed.
        2. Tasks that have not started go back to their queue, uncounted.
        3. Running tasks get the grace period; leases are still renewed.
        4. Tasks that still run are cancelled and handed back.
        5. Finishers store the outcomes that are ready.
        """
        for queue in self._queues:
            queue.fetcher.stop()
            queue.runner.stop()
        for reader in self._readers:
            await reader.stop()
        tasks = self._running()
        if tasks:
            count = "1 task gets" if len(tasks) == 1 else f"{len(tasks)} tasks get"
            logger.info("%s %.0f s to finish", count, self._settings.grace)
            await asyncio.wait(tasks, timeout=self._settings.grace)
        await self._hand_back()

    async def _hand_back(self) -> None:
        """End tasks that still run, hand them back, and store outcomes; also after a crash.

        When the server is away for longer than the grace period, outcomes that could not be stored
        are given up: their tasks run again elsewhere when their lease has run out.
        """
        for queue in self._queues:
            queue.announcer.stop()
            queue.runner.stop()
            for attempt in queue.workload.attempts:
                if not attempt.finished:
                    attempt.end(Ending.STOP)
        tasks = self._running()
        for queue in self._queues:  # a call that nobody wants any more may take its time to end
            tasks += queue.workload.lending.calls
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)
        loop = asyncio.get_running_loop()
        if self._stored_by is None:
            self._stored_by = loop.time() + max(5.0, self._settings.grace)
        try:
            async with asyncio.timeout_at(max(self._stored_by, loop.time() + 0.1)):
                for queue in self._queues:
                    await queue.finisher.drain()
                    await queue.gate.drain()
        except TimeoutError:
            unstored = sum(len(queue.workload) for queue in self._queues)
            logger.error("%d outcomes could not be stored; those tasks run again", unstored)

    async def _leave(self, lease: LeaseKeeper, heartbeat: Heartbeat) -> None:
        """End renewing leases, then take the worker off the lanes and the register."""
        await lease.stop()
        try:
            async with asyncio.timeout(3.0):
                for queue in self._queues:
                    queue.control.stop()
                    await queue.claims.retire(self.id)
                await heartbeat.leave()
        except (ServerError, TimeoutError) as error:
            logger.warning("the worker's traces stay for others to remove: %s", error)
        logger.info("worker %s has stopped", self.id)

    def _running(self) -> list[asyncio.Task[None]]:
        """The asyncio tasks of the attempts whose code runs."""
        attempts: list[Attempt] = [a for q in self._queues for a in q.workload.attempts]
        return [a.runner for a in attempts if a.runner is not None and not a.finished]
