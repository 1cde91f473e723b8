"""The lifeline: how a child process notices that its supervisor is gone.

The supervisor holds the write end of a pipe and never writes to it, its children hold the
read end. However the supervisor ends, SIGKILL included, the children read the end of file.
"""

from __future__ import annotations

import logging
import os
import signal
import threading

logger = logging.getLogger(__name__)

#: Seconds on top of the grace period after which a child that does not stop is ended.
_PATIENCE = 10.0


def watch_lifeline(descriptor: int | None, *, grace: float) -> None:
    """Have this process stop as on SIGTERM when its supervisor is gone.

    A thread watches, so that a blocked event loop cannot keep the process alive.

    Args:
        descriptor: the read end of the pipe; None for a process without a supervisor.
        grace: seconds that a graceful stop may take.
    """
    if descriptor is None:
        return
    os.set_inheritable(descriptor, False)
    watcher = threading.Thread(
        target=_watch, args=(descriptor, grace), name="castwork-lifeline", daemon=True
    )
    watcher.start()


def _watch(descriptor: int, grace: float) -> None:
    while os.read(descriptor, 1):
        pass
    _silence()  # the supervisor was also the reader of this process's output
    logger.warning("the supervisor is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(grace + _PATIENCE)
    os._exit(1)


def _silence() -> None:
    """Send output nowhere: writing to a pipe that nobody reads would raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
