"""What a supervisor gives back: the tasks of the worker that it started, and of no other."""

from __future__ import annotations

import asyncio

from castwork import App
from castwork.cli.supervise.gone import give_back


async def test_a_worker_of_the_same_host_and_process_id_keeps_its_tasks(app: App) -> None:
    begun = asyncio.Event()

    @app.task
    async def hold() -> None:
        begun.set()
        await asyncio.Event().wait()

    worker = app.worker(grace=0)
    worker.mark = "ours"
    async with app, worker:
        await hold.enqueue()
        async with asyncio.timeout(10):
            await begun.wait()
        # As in another container, whose worker has this host name and process id, too.
        assert await give_back(app, "of another container", lease=15.0) == 0
        assert await give_back(app, "ours", lease=15.0) == 1


async def test_a_queue_that_nobody_has_served_yet_holds_up_no_other(app: App) -> None:
    begun = asyncio.Event()

    @app.task(queue="never-served")
    async def other() -> None: ...

    @app.task(queue="served")
    async def hold() -> None:
        begun.set()
        await asyncio.Event().wait()

    worker = app.worker([hold.queue.name], grace=0)
    worker.mark = "ours"
    async with app, worker:
        await hold.enqueue()
        async with asyncio.timeout(10):
            await begun.wait()
        assert await give_back(app, "ours", lease=15.0) == 1
