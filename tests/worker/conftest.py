"""The roles of a worker, each to be called by itself: no loop of theirs runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from castwork import App
from castwork.model.settings import Limits
from castwork.model.worker_options import WorkerSettings
from castwork.store.reads import BlockingReads
from castwork.tasks.chain import Chain
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.callers.choose import Callers
from castwork.worker.processes.pool import Bounds, Pool
from castwork.worker.quarantine import Quarantine
from castwork.worker.queue_roles import QueueRoles
from castwork.worker.reader import Reader
from castwork.worker.workload import Workload

MakeRoles = Callable[..., QueueRoles]


@pytest.fixture
async def make_roles(app: App) -> AsyncIterator[MakeRoles]:
    """Makes the roles of one worker for one queue of the app, when its functions are declared."""
    made: list[tuple[QueueRoles, Reader]] = []
    threads = ThreadPoolExecutor(max_workers=2)

    async def make(
        worker_id: str = "alice",
        *,
        queue: str = "q",
        capacity: int = 10,
        lease: float = 15.0,
        announce_after: float = 60.0,
        around: Chain | None = None,
        patience: float = 5.0,
    ) -> QueueRoles:
        await app.open()
        [store] = [store for store in app.tasks.stores() if store.queue.name == queue]
        link = await app.connections.dedicated(store.place.slot, worker_id, patience=10.0)
        reader = Reader(BlockingReads(link, worker_id), block=5.0)
        workload = Workload(store, worker_id, capacity)
        roles = QueueRoles(
            workload,
            app.tasks,
            Callers(threads, Pool(Bounds(1, 0, 0), []), Limits(), around or Chain()),
            reader,
            Quarantine([workload], patience=patience),
            WorkerSettings(lease=lease, announce_after=announce_after),
            Limits(),
        )
        await roles.claims.create_groups()
        made.append((roles, reader))
        return roles

    yield make
    for roles, reader in made:
        roles.announcer.stop()
        await end_all(roles)
        await reader.close()
    threads.shutdown(wait=False, cancel_futures=True)


async def end_all(roles: QueueRoles) -> None:
    """End what still runs, and store what has ended."""
    roles.runner.stop()
    for attempt in roles.workload.attempts:
        if not attempt.finished:
            attempt.end(Ending.STOP)
    running = [a.runner for a in roles.workload.attempts if a.runner is not None]
    if running:
        await asyncio.wait(running, timeout=5)
    async with asyncio.timeout(5):
        await roles.finisher.drain()


def only(roles: QueueRoles) -> Attempt:
    """The attempt that a worker holds."""
    [attempt] = roles.workload.attempts
    return attempt
