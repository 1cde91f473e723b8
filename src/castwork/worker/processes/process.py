"""Process: one child process, as its worker sees it."""

from __future__ import annotations

import asyncio
import logging
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from multiprocessing.spawn import get_preparation_data
from time import monotonic
from typing import Any

import msgspec

from castwork.model.errors import CastworkError, ProcessDied
from castwork.redis.threads import in_thread
from castwork.tasks.declared import Declared, place_of
from castwork.worker.attempt import Attempt
from castwork.worker.processes.failure import error_of, failure_of
from castwork.worker.processes.logs import record_of
from castwork.worker.processes.messages import (
    PREFIX,
    Answer,
    Ask,
    Begin,
    Done,
    End,
    Failed,
    Log,
    Ready,
    Request,
    Setup,
    decode_for_worker,
    framed,
    size_of,
)

logger = logging.getLogger(__name__)

#: Seconds that a call may go on once it has been told to end; then its process is killed.
PATIENCE = 1.0

_CHILD = "castwork.worker.processes.child"

#: Does what a call asks for.
Serve = Callable[[Request], Awaitable[None]]


class Process:
    """A child process. Make one with `start`.

    Attributes:
        calls: how many calls it has had.
        memory: megabytes that it had after the last.
        dead: whether it takes no calls any more.
        has_place: whether its call has a place among those that run at once.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.calls = 0
        self.memory = 0
        self.dead = False
        self.has_place = True
        self._child = child
        self._reader = reader
        self._writer = writer
        self._outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._serve: Serve | None = None
        self._served: set[asyncio.Task[None]] = set()
        self._listening = asyncio.create_task(self._listen(), name=f"process {child.pid}")

    @classmethod
    async def start(cls, modules: Sequence[str]) -> Process:
        """Start a process, and wait until it takes calls.

        Raises:
            ProcessDied: it has ended before that.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", _CHILD, str(theirs.fileno())]
            # Not asyncio's: its `kill` takes the exit code away from its `wait`.
            child = subprocess.Popen(  # noqa: ASYNC220 - forks and returns
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        process = cls(child, reader, writer)
        level = logging.getLogger().getEffectiveLevel()
        process._send(Setup(_preparation(modules), list(modules), level))
        try:
            await process._outcome
        except BaseException:
            process.kill()
            raise
        return process

    async def run(self, attempt: Attempt, declared: Declared, serve: Serve) -> Any:
        """Run a call; return its result as JSON, None for nothing.

        When the attempt is ended, the code gets an exception, and `PATIENCE` seconds later the
        process is killed.

        Raises:
            ProcessDied: the process has ended in the midst of the call.
            BaseException: what the code raises.
        """
        self.calls += 1
        self._serve = serve
        self._outcome = asyncio.get_running_loop().create_future()
        self._send(_begin(attempt, declared))
        try:
            return await asyncio.shield(self._outcome)
        except asyncio.CancelledError:
            if not self._outcome.done():  # else the code raised that, or has ended meanwhile
                self._send(End(str(attempt.ended_by) or "stop", attempt.cancel_reason))
                await asyncio.wait({self._outcome}, timeout=PATIENCE)
            if self._outcome.done():
                return self._outcome.result()
            raise
        finally:
            if not self._outcome.done():
                self.kill()
            self._outcome.cancel()
            self._serve = None

    def kill(self) -> None:
        """End the process at once."""
        self.dead = True
        self._child.kill()

    async def close(self) -> None:
        """Let the process end, which closes what it has made; kill it if it takes too long."""
        self.dead = True
        if not self._writer.is_closing():
            self._writer.write_eof()  # its own end is closed when it has ended
        await asyncio.wait({self._listening}, timeout=PATIENCE)
        self.kill()
        await self._listening

    # -- messages -----------------------------------------------------------------------

    def _send(self, message: Any) -> None:
        if not self._writer.is_closing():
            self._writer.write(framed(message))

    async def _listen(self) -> None:
        """Take messages until the process has ended."""
        try:
            while True:
                size = size_of(await self._reader.readexactly(PREFIX))
                self._take(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it has ended
        except Exception:
            logger.exception("process %d sent what is no message", self._child.pid)
        finally:
            self.kill()  # it may have closed its socket only
            self._writer.close()
            code = await in_thread(self._child.wait, name="castwork-wait", is_daemon=True)
            if not self._outcome.done():
                self._outcome.set_exception(ProcessDied(_told(code)))
                self._outcome.exception()  # marked as seen

    def _take(self, raw: bytes) -> None:
        message = decode_for_worker(raw)
        if isinstance(message, Ask):
            task = asyncio.create_task(self._answer(message))
            self._served.add(task)
            task.add_done_callback(self._served.discard)
        elif isinstance(message, Log):
            logging.getLogger(message.name).handle(record_of(message))
        elif self._outcome.done():
            self.memory = self.memory if isinstance(message, Ready) else message.memory
        elif isinstance(message, Done):
            self.memory = message.memory
            self._outcome.set_result(
                None if message.result is None else msgspec.Raw(message.result)
            )
        elif isinstance(message, Failed):
            self.memory = message.memory
            self._outcome.set_exception(error_of(message.failure))
            self._outcome.exception()
        else:
            self._outcome.set_result(None)

    async def _answer(self, ask: Ask) -> None:
        answer = Answer(ask.number)
        try:
            if self._serve is None:
                raise CastworkError("the task has ended: it writes nothing any more")
            await self._serve(ask.what)
        except Exception as error:
            answer.failure = failure_of(error)
        self._send(answer)


def _preparation(modules: Sequence[str]) -> bytes:
    """How a child loads the program; its main file only where a function is declared there."""
    preparation = get_preparation_data("castwork")
    left_out = ["authkey"]  # which cannot be pickled
    if "__main__" not in modules:
        left_out += ["init_main_from_name", "init_main_from_path"]
    return pickle.dumps({name: one for name, one in preparation.items() if name not in left_out})


def _begin(attempt: Attempt, declared: Declared) -> Begin:
    now = monotonic()
    return Begin(
        place=place_of(declared.function),
        address=declared.address.override,
        args=attempt.args,
        task_id=attempt.task_id,
        queue=attempt.queue,
        number=attempt.number,
        allowed=attempt.allowed,
        counted=attempt.counted,
        meta=attempt.meta,
        checkpoint=attempt.checkpoint,
        deadline=attempt.deadline - now if attempt.deadline else None,
        expires=attempt.expires - now if attempt.expires else None,
    )


def _told(code: int) -> str:
    """How a process has ended."""
    how = f"with exit code {code}"
    if code < 0:
        with suppress(ValueError):
            how = f"by {signal.Signals(-code).name}"
    return f"the process of the task ended {how} in the midst of it"
