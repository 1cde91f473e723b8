"""Stopping on signals: gracefully on the first one, at once on the second."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

#: Ctrl-C, what process managers send, and a terminal that was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_stop_signals(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Call `first` on the first signal to stop, `second` on each further signal.

    This is to be called on the main thread, with its event loop running.
    """
    count = 0

    def on_signal() -> None:
        nonlocal count
        count += 1
        (first if count == 1 else second)()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
