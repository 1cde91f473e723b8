"""Running: an app with a private server, and a worker in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from castwork.app import App
from castwork.embedded import EmbeddedServer
from castwork.model.option_values import Seconds
from castwork.model.option_values import seconds as seconds_of
from castwork.testing.passing import let_pass
from castwork.testing.recording import Run


class _Running(Run):
    """A run with a server."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self.worker = app.worker()

    async def until_idle(self, timeout: Seconds = 10) -> None:
        queues = [self._app.queue(info.name) for info in await self._app.queues()]
        busy = True
        while busy:  # a task of one queue may have enqueued some of another
            for queue in queues:
                await queue.until_idle(timeout)
            infos = [await queue.info() for queue in queues]
            busy = any(info.depth or info.due for info in infos)

    async def advance(self, seconds: Seconds) -> None:
        """Let time pass on the server: what is stored moves back.

        Delayed tasks, retries and schedules become due, tasks of lost workers lose their lease,
        records and keys end. Tasks that this run's worker holds go on untouched. The deadline of a
        task that waits in a lane does not move.
        """
        length = seconds_of("seconds", seconds)
        await let_pass(self._app.served(), length, alive=self.worker.id)

    async def lose_worker(self) -> None:
        """Let the worker be lost with what it runs, and have another one in its place.

        Its tasks come back once `advance(15)` has let its lease end.
        """
        lost, self.worker = self.worker, self._app.worker()
        await lost.lose()
        await self.worker.__aenter__()


@asynccontextmanager
async def running(app: App) -> AsyncIterator[Run]:
    """Open an app on a private server, with a worker in this event loop; close it at the end.

    The environment and the App's own URL are left aside. The server has no data at the beginning,
    and ends with the block.

    Raises:
        ServerUnavailable: there is no server program: `pip install 'castwork[embedded]'`.
    """
    with EmbeddedServer() as server, app.server_url.overridden(server.url):
        async with app:
            run = _Running(app)
            with app.wrapping_enqueues(run.around_enqueue), run.recording_events():
                await run.worker.__aenter__()
                try:
                    yield run
                finally:
                    await run.worker.__aexit__(None, None, None)
