"""The processes of one `castwork up`: made, watched until they are ready, announced."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from castwork.app import App
from castwork.cli.failure import FAILED, one_line
from castwork.cli.loading import load_module
from castwork.cli.overview import server_facts
from castwork.cli.supervise.banner import Banner
from castwork.cli.supervise.child import Child
from castwork.cli.supervise.gone import give_back
from castwork.cli.supervise.hints import find_hints
from castwork.cli.supervise.listening import url_of
from castwork.cli.supervise.logs import LogOptions
from castwork.cli.supervise.ready import wait_for_gateway, wait_for_workers
from castwork.cli.supervise.sources import folders_of, reload_on_change
from castwork.cli.supervise.supervisor import PATIENCE, Supervisor
from castwork.cli.terminal import Terminal
from castwork.embedded import SharedServer
from castwork.model.errors import CastworkError, ServerUnavailable

#: Seconds between looks at the embedded server.
_INTERVAL = 0.5

#: Seconds for giving back the tasks of a process that has ended.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What `castwork up` was asked for.

    Attributes:
        module: `module:attribute` of the App.
        workers: how many worker processes.
        grace: seconds that running tasks get on a stop.
        lease: seconds that a worker's leases last.
        worker_options: further arguments of `castwork worker`.
        logs: what all processes log, and how.
        reload: whether all start again when a file changes.
    """

    module: str
    workers: int
    grace: float
    lease: float
    worker_options: Sequence[str]
    logs: LogOptions = LogOptions()
    reload: bool = False


class Fleet:
    """Runs a gateway and workers on a server.

    Args:
        options: what to run.
        app: for a look at the server; its handlers do not run here.
        listener: what the gateway accepts from. This process holds it, so that callers wait
            while a gateway is replaced.
        server: the embedded server, started; None for one elsewhere.
        started_at: monotonic time at which the command began.
        times: seconds after which parts were ready.
    """

    def __init__(
        self,
        options: FleetOptions,
        app: App,
        listener: socket.socket,
        server: SharedServer | None,
        started_at: float,
        times: dict[str, float],
    ) -> None:
        self._options = options
        self._app = app
        self._listener = listener
        self._server = server
        self._started_at = started_at
        self._times = times
        self._terminal = Terminal(len("castwork") + 1, json=options.logs.format == "json")

    async def run(self) -> int:
        """Run until told to stop; returns the exit code.

        Raises:
            ServerUnavailable, AuthenticationFailed, ServerUnsupported: at the start.
        """
        try:
            await self._app.connections.open()
            supervisor = self._make_supervisor()
            return await supervisor.run(*self._beside(supervisor))
        finally:
            await self._app.close()

    def _beside(self, supervisor: Supervisor) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the processes."""
        beside = [self._announce(supervisor), self._watch(supervisor)]
        if self._options.reload:
            beside.append(
                reload_on_change(
                    folders_of(load_module(self._options.module)),
                    lambda: supervisor.children,
                    self._terminal.say,
                    patience=self._options.grace + PATIENCE,
                )
            )
        return beside

    def _make_supervisor(self) -> Supervisor:
        options = self._options
        made = Supervisor(grace=options.grace, say=self._terminal.say)
        # Were the listener left open, callers would wait for ever for a gateway to accept them.
        made.on_stop = self._listener.close
        descriptor = str(self._listener.fileno())
        gateway = ["gateway", options.module, "--listener", descriptor]
        made.gateways = [self._child(made, "gateway", lambda _: gateway, self._listener.fileno())]
        worker = ["worker", options.module, *options.worker_options]
        made.workers = [
            self._child(made, f"worker-{number}", lambda mark: [*worker, "--mark", mark])
            for number in range(1, options.workers + 1)
        ]
        return made

    def _child(
        self,
        supervisor: Supervisor,
        name: str,
        arguments: Callable[[str], Sequence[str]],
        *descriptors: int,
    ) -> Child:
        return Child(
            name,
            lambda mark: [*arguments(mark), "--lifeline", str(supervisor.lifeline)],
            environment=self._environment(),
            descriptors=(supervisor.lifeline, *descriptors),
            say=self._terminal.say,
            misused=supervisor.misused,
            gone=self._give_back,
            reloads=self._options.reload,
        )

    async def _give_back(self, mark: str) -> None:
        """Give the tasks of a worker whose process has ended back to the other workers."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._app.connections.open()
                held = await give_back(self._app, mark, lease=self._options.lease)
        except (CastworkError, TimeoutError) as error:
            why = str(error) or "the server did not answer in time"
            self._terminal.say("castwork", f"its tasks come back after a lease: {why}")
            return
        if held:
            what = "1 task, which comes" if held == 1 else f"{held} tasks, which come"
            self._terminal.say("castwork", f"it held {what} back at once")

    def _environment(self) -> dict[str, str]:
        logs = self._options.logs
        told = {"PYTHONUNBUFFERED": "1", "CASTWORK_LOG_FORMAT": logs.format}
        if logs.level:
            told["CASTWORK_LOG_LEVEL"] = logs.level
        if variable := self._app.server_url.variable:
            told[variable] = self._url
        return os.environ | told

    @property
    def _url(self) -> str:
        return self._app.url if self._server is None else self._server.url

    async def _announce(self, supervisor: Supervisor) -> None:
        """Say what runs where, once all processes are ready."""
        await asyncio.gather(
            self._timed("gateway", wait_for_gateway(self._listener)),
            self._timed("workers", wait_for_workers(self._app, supervisor.workers)),
        )
        supervisor.is_ready = True
        module = load_module(self._options.module)
        gateway_url = url_of(self._listener)
        hints = find_hints(module, self._app, gateway_url)
        banner = Banner(self._options.module, self._url, self._rows(supervisor), self._times, hints)
        for line in banner.lines():
            self._terminal.write(line)
        await self._app.close()

    async def _timed(self, what: str, waiting: Coroutine[Any, Any, None]) -> None:
        await waiting
        self._times[what] = time.monotonic() - self._started_at

    def _rows(self, supervisor: Supervisor) -> list[tuple[str, str]]:
        server = str(server_facts(self._app))
        if self._server is not None:
            server = f"{server}, embedded, pid {self._server.pid}"
        rows = [("server", server)]
        for child in supervisor.gateways:
            rows.append((child.name, f"{url_of(self._listener)}, pid {child.pid}"))
        rows += [(child.name, f"pid {child.pid}") for child in supervisor.workers]
        return rows

    async def _watch(self, supervisor: Supervisor) -> None:
        """Replace an embedded server that died, and the children, as the address is a new one."""
        while self._server is not None:
            await asyncio.sleep(_INTERVAL)
            if self._server.is_running:
                continue
            self._terminal.say("castwork", "the embedded server died; all starts again")
            try:
                await asyncio.to_thread(self._server.start)
            except ServerUnavailable as error:
                self._terminal.say("castwork", one_line(error))
                supervisor.stop(FAILED)
                return
            self._app.server_url.override = self._url
            for child in supervisor.children:
                child.environment = self._environment()
                child.replace()
