"""The program of a child process: runs one call after another, for the worker that started it.

The calls run in the main thread, where a signal can interrupt them. A second thread takes the
worker's messages; what a call asks for is asked on the portal's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing.spawn import prepare
from time import sleep
from types import FrameType
from typing import Any

import msgspec

from castwork.model.codec import encode_value
from castwork.model.errors import DefinitionError, LeaseLost
from castwork.model.memory import memory_mb
from castwork.redis.portal import portal
from castwork.redis.threads import call_in_thread
from castwork.tasks.context import set_current
from castwork.tasks.declared import find_declared
from castwork.tasks.resource import close_made, make_on_demand
from castwork.worker.callers.subject import call_with
from castwork.worker.processes.child_attempt import ChildAttempt
from castwork.worker.processes.failure import error_of, failure_of
from castwork.worker.processes.logs import log_of
from castwork.worker.processes.messages import (
    PREFIX,
    Answer,
    Ask,
    Begin,
    Done,
    End,
    Failed,
    Ready,
    Request,
    Setup,
    ToChild,
    decode_for_child,
    framed,
    size_of,
)

#: Seconds that a call may go on when its worker is gone.
_PATIENCE = 1.0

#: Tells the main thread to look whether its call is ended.
_LOOK = signal.SIGUSR1


class Child:
    """A process that runs calls.

    Args:
        connection: leads to the worker.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._sending = threading.Lock()
        self._calls: queue.SimpleQueue[Begin | None] = queue.SimpleQueue()
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._last = 0
        self._pid = os.getpid()
        self._unprepared: Exception | None = None
        self._attempt: ChildAttempt | None = None
        self._interruptible: ChildAttempt | None = None

    def run(self) -> None:
        """Run calls until the worker wants no more."""
        setup = self._receive()
        if not isinstance(setup, Setup):
            return
        for number in (signal.SIGINT, signal.SIGTERM):  # meant for the worker, which tells us
            signal.signal(number, lambda *_: None)
        signal.signal(_LOOK, self._look)
        os.register_at_fork(after_in_child=self._let_go)
        self._prepare(setup)
        threading.Thread(target=self._listen, name="castwork-worker", daemon=True).start()
        self.send(Ready())
        while (begin := self._calls.get()) is not None:
            if not self.send(self._call(begin)):
                self._give_up()
        close_made()

    def _give_up(self) -> None:
        """End at once: there is nobody who could be told what came of a call.

        The worker is gone, or the call has closed the connection, or it has forked this process.
        """
        if os.getpid() == self._pid:
            close_made()
        os._exit(os.EX_TEMPFAIL)

    def _prepare(self, setup: Setup) -> None:
        root = logging.getLogger()
        root.addHandler(_ToWorker(self))
        root.setLevel(setup.level)
        make_on_demand()
        try:
            prepare(pickle.loads(setup.preparation))
        except Exception as error:
            self._unprepared = error
        for module in setup.modules:
            with suppress(Exception):  # comes again with the call that needs the module
                __import__(module)

    # -- calls --------------------------------------------------------------------------

    def _call(self, begin: Begin) -> Done | Failed:
        try:
            if self._unprepared is not None:
                raise self._unprepared
            declared = find_declared(begin.place)
            declared.address.override = begin.address or declared.address.override
            function, around = declared.function, declared.around
            arguments = function.decode_arguments(begin.args)
            self._attempt = attempt = ChildAttempt(begin, function, self._ask)
            call: Any = partial(function.invoke, arguments)
            if around.has_plain:
                subject = call_with(function, begin.meta, begin.args, arguments)
                call = partial(around.call_plain, subject, call)
            context = copy_context()
            context.run(set_current, attempt)
            try:
                self._interruptible = attempt
                self._raise_if_ended()
                value = context.run(call_in_thread, call)
            finally:
                self._interruptible = None
                attempt.finished = True
            if asyncio.iscoroutine(value):
                value.close()
                raise DefinitionError(
                    f"task {function.name!r} returned a coroutine: a function that runs in a"
                    " process of its own is a plain one"
                )
            return Done(None if value is None else encode_value(value), memory_mb())
        except BaseException as error:
            return Failed(failure_of(error), memory_mb())
        finally:
            self._attempt = None

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        self._raise_if_ended()

    def _raise_if_ended(self) -> None:
        attempt = self._interruptible
        if attempt is None or not attempt.ended_by:
            return
        if attempt.ended_by == "lost":
            raise LeaseLost(f"another worker has task {attempt.task_id} now")
        raise asyncio.CancelledError(f"task {attempt.task_id} is being stopped")

    def _end(self, reason: str, cancel_reason: str) -> None:
        """Interrupt the call that runs, if one does."""
        attempt = self._attempt
        if attempt is not None and not attempt.ended_by:
            attempt.cancel_reason, attempt.ended_by = cancel_reason, reason
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, _LOOK)

    def _let_go(self) -> None:
        """Close the connection in a process that the call has forked.

        The worker takes the end of the connection for the end of this process.
        """
        os.close(self._connection.detach())  # the stream's lock may have been taken as it forked

    # -- messages -----------------------------------------------------------------------

    def send(self, message: Any) -> bool:
        """Send a message, from any thread; False where there is no way to the worker any more."""
        with self._sending, suppress(OSError):
            self._connection.sendall(framed(message))
            return True
        return False

    def _receive(self) -> ToChild | None:
        """The next message; None when the worker is gone."""
        with suppress(OSError):
            prefix = self._stream.read(PREFIX)
            if len(prefix) == PREFIX:
                raw = self._stream.read(size_of(prefix))
                with suppress(msgspec.DecodeError):  # cut off in the midst
                    return decode_for_child(raw)
        return None

    def _listen(self) -> None:
        while (message := self._receive()) is not None:
            if isinstance(message, Begin):
                self._calls.put(message)
            elif isinstance(message, End):
                self._end(message.reason, message.cancel_reason)
            elif isinstance(message, Answer):
                portal.loop.call_soon_threadsafe(self._settle, message)
        self._calls.put(None)
        if self._attempt is not None:
            self._end("lost", "")
            sleep(_PATIENCE)
            os._exit(os.EX_TEMPFAIL)

    async def _ask(self, what: Request) -> None:
        self._last += 1
        number = self._last
        self._asked[number] = answer = asyncio.get_running_loop().create_future()
        try:
            self.send(Ask(number, what))
            await answer
        finally:
            del self._asked[number]

    def _settle(self, message: Answer) -> None:
        answer = self._asked.get(message.number)
        if answer is None or answer.done():
            return
        if message.failure is None:
            answer.set_result(None)
        else:
            answer.set_exception(error_of(message.failure))


class _ToWorker(QueueHandler):
    """Hands the process's logs to its worker, so that they come out in one way."""

    def __init__(self, child: Child) -> None:
        super().__init__(queue.SimpleQueue())
        self.setFormatter(logging.Formatter("%(message)s"))
        self._child = child

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that is made fit for pickling."""
        self._child.send(log_of(record))


if __name__ == "__main__":
    os.set_inheritable(int(sys.argv[1]), False)
    # Open until the process has ended: its worker kills a process without a connection.
    _connection = socket.socket(fileno=int(sys.argv[1]))
    Child(_connection).run()
