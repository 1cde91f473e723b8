"""Stopping on signals: gracefully on the first one, at once on the second."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

#: Ctrl-C, what process managers send, and a terminal that was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_stop_signals(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Call `first` on the first signal to stop, `second` on each further signal.

    `first` is called by the event loop. `second` is called at once, whatever the main thread does,
    as the loop may be blocked for good; it must do no more than a signal handler may. Processes
    that are forked from this one stop on signals as any other process does.

    This is to be called on the main thread, with its event loop running.
    """
    loop = asyncio.get_running_loop()
    count = 0

    def on_signal(*_: object) -> None:
        nonlocal count
        count += 1
        if count > 1:
            second()
            return
        with suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(first)

    for number in _SIGNALS:
        signal.signal(number, on_signal)
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """Give a forked child the usual handlers, and no way to wake its parent's event loop."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
