"""Child: a supervised process, started again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from castwork.cli.failure import STUCK, TOLD_MISUSED
from castwork.cli.supervise.relay import relay_lines
from castwork.cli.supervise.restarts import Restarts

#: Seconds for reading output that the processes of a dead child have left in the pipe.
_LAST_WORDS = 0.5


class Child:
    """Keeps one castwork command running in a session of its own.

    Ctrl-C in the terminal does not reach the process: only the supervisor decides when it stops.

    Args:
        name: stands before each line of the command's output.
        arguments: makes the arguments of the `castwork` program for one start, given its mark.
        environment: the process's environment; changes apply from the next start on.
        descriptors: file descriptors that the process inherits, under the same numbers.
        say: prints a line under a name.
        misused: called when the process says that starting it again will not help.
        gone: awaited with the mark of a start whose process has ended unasked.
        reloads: whether somebody calls `reload` when the program changes. Then a process that says
            that starting it again will not help is started at the next change.

    Attributes:
        mark: names the latest start: unlike a process id, no other process ever has it, be it in
            another container of the same host name.
    """

    def __init__(
        self,
        name: str,
        arguments: Callable[[str], Sequence[str]],
        *,
        environment: Mapping[str, str],
        descriptors: Sequence[int],
        say: Callable[[str, str], None],
        misused: Callable[[], None],
        gone: Callable[[str], Awaitable[None]],
        reloads: bool = False,
    ) -> None:
        self.name = name
        self.environment = environment
        self.mark = ""
        self._arguments = arguments
        self._descriptors = tuple(descriptors)
        self._say = say
        self._misused = misused
        self._gone = gone
        self._restarts = Restarts()
        self._process: asyncio.subprocess.Process | None = None
        self._reloads = reloads
        self._reloading = False
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int:
        """The process id now, 0 while the process is down."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else 0

    async def keep_running(self) -> None:
        """Start the process, again and again, until `terminate` or `kill`."""
        while not self._stopping.is_set():
            try:
                code = await self._run()
            except OSError as error:  # as of a machine without memory or descriptors to spare
                wait = self._restarts.died(time.monotonic())
                self._say(self.name, f"could not be started: {error}; it is tried again")
                await self._pause(wait)
                continue
            if self._stopping.is_set():
                return
            if self._reloading and code in (0, -signal.SIGTERM):
                continue
            if self._reloads and code == TOLD_MISUSED:
                self._say(self.name, "cannot start; it is started again when a file changes")
                self._misused()
                await self._pause(None)
                continue
            wait = self._restarts.died(time.monotonic())
            self._report(code, wait)
            if code == TOLD_MISUSED:
                self._misused()
            await self._gone(self.mark)
            await self._pause(0.0 if self._reloading else wait)

    def terminate(self) -> None:
        """Have the process stop gracefully, and not start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def reload(self, patience: float) -> None:
        """Have the process stop gracefully, and start a new one at once; also one that waits.

        Args:
            patience: seconds after which a process that has not stopped is ended.
        """
        self._changed.set()
        if self.pid and not self._reloading:  # a second signal would end it at once
            self._reloading = True
            self._signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(patience, self._end_late, self.mark)

    def _end_late(self, mark: str) -> None:
        if mark == self.mark and self.pid:
            self._say(self.name, "did not stop in time and is ended")
            self.replace()

    def kill(self) -> None:
        """End the process at once with all that it started, and do not start it again."""
        self._stopping.set()
        self.replace()

    def replace(self) -> None:
        """End the process at once with all that it started; a new one is started."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _run(self) -> int:
        self.mark = os.urandom(8).hex()
        self._reloading = False
        self._changed.clear()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "castwork",
            *self._arguments(self.mark),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.environment),
            pass_fds=self._descriptors,
            start_new_session=True,
        )
        if self._stopping.is_set():  # the request to stop came while the process was started
            self._signal(signal.SIGTERM)
        elif self._changed.is_set():  # so did the change: which files it has read is not known
            self._reloading = True
            self._signal(signal.SIGTERM)
        assert process.stdout is not None
        relay = asyncio.create_task(relay_lines(process.stdout, self.name, self._say))
        code = await process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # processes that it left in its session
        await asyncio.wait({relay}, timeout=_LAST_WORDS)
        relay.cancel()
        return code

    def _signal(self, number: int) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _report(self, code: int, wait: float) -> None:
        said = f"{how_it_ended(code)}; it is started again"
        if self._restarts.is_crash_loop:
            said += (
                f" every {wait:.0f} s from now on: it died {self._restarts.deaths} times in a"
                " short while"
            )
        self._say(self.name, said)

    async def _pause(self, seconds: float | None) -> None:
        """Wait, but not beyond a stop or a change; None waits for one of them."""
        waits = [asyncio.create_task(one.wait()) for one in (self._stopping, self._changed)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


def how_it_ended(code: int) -> str:
    """How a process ended, for people."""
    if code == STUCK:
        return "was stuck: its event loop or all threads of a queue (exit code 70)"
    if code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"
    return f"has ended (exit code {code})"
