"""The supervisor of `castwork up`: keeps the children running, and ends them in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from castwork.cli.failure import FAILED, MISUSED
from castwork.cli.supervise.child import Child
from castwork.cli.supervise.signals import on_stop_signals

#: Seconds on top of the grace period after which children are killed.
PATIENCE = 12.0


class Supervisor:
    """Runs until a signal, or until a child says that the command cannot work.

    The supervisor holds the write end of the lifeline, so that the children notice when this
    process is killed.

    Args:
        grace: seconds that the children get to finish.
        say: prints a line under a name.
    """

    def __init__(self, *, grace: float, say: Callable[[str, str], None]) -> None:
        self.lifeline, self._write_end = os.pipe()
        self.gateways: list[Child] = []
        self.workers: list[Child] = []
        #: Called when the stop begins.
        self.on_stop: Callable[[], None] = lambda: None
        self.exit_code = 0
        #: Set when all children are up: from then on a child is always started again.
        self.is_ready = False
        self._grace = grace
        self._say = say
        self._stop = asyncio.Event()

    @property
    def children(self) -> Sequence[Child]:
        """All children."""
        return [*self.gateways, *self.workers]

    async def run(self, *side: Coroutine[Any, Any, None]) -> int:
        """Run the children and, beside them, some coroutines; returns the exit code."""
        loop = asyncio.get_running_loop()
        on_stop_signals(self._stop.set, lambda: loop.call_soon_threadsafe(self._kill))
        keepers = [asyncio.create_task(self._guard(one.keep_running())) for one in self.children]
        beside = [asyncio.create_task(self._guard(one)) for one in side]
        try:
            await self._stop.wait()
            for task in beside:
                task.cancel()
            await self._drain(keepers)
        finally:
            for child in self.children:
                child.kill()
            os.close(self._write_end)
            os.close(self.lifeline)
            await asyncio.gather(*keepers, *beside, return_exceptions=True)
        return self.exit_code

    def misused(self) -> None:
        """Stop because a child is asked for something impossible, unless all were up before."""
        if not self.is_ready:
            self.stop(MISUSED)

    def stop(self, code: int) -> None:
        """Stop in order, and end with this exit code."""
        self.exit_code = code
        self._stop.set()

    async def _guard(self, one: Coroutine[Any, Any, None]) -> None:
        try:
            await one
        except Exception as error:
            self._say("castwork", f"cannot go on: {type(error).__name__}: {error}")
            self.stop(FAILED)

    async def _drain(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Close the gateway's listener, and let all children end within the grace period."""
        self._say("castwork", "stopping; once more ends everything at once")
        self.on_stop()
        for child in self.children:
            child.terminate()
        _, late = await asyncio.wait(keepers, timeout=self._grace + PATIENCE)
        if late:
            names = ", ".join(child.name for child in self.children if child.pid)
            self._say("castwork", f"{names or 'somebody'} did not stop in time and is ended")

    def _kill(self) -> None:
        self._say("castwork", "ending everything at once")
        for child in self.children:
            child.kill()
