"""The end of a process, which threads of a user's code must not hold up."""

from __future__ import annotations

import logging
import os
import sys
import threading

from castwork.cli.failure import FAILED

logger = logging.getLogger(__name__)


def leave_within(seconds: float) -> None:
    """End this process if it is still there after so many seconds.

    The exit code tells whether an exception is being handled now, as in a `finally`.

    Python waits at its end for every thread. A thread of a task that was handed back would
    otherwise go on beside the task's next attempt for as long as it likes.
    """
    timer = threading.Timer(
        seconds, _leave, [seconds, FAILED if sys.exception() is not None else 0]
    )
    timer.daemon = True
    timer.start()


def _leave(seconds: float, code: int) -> None:
    threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
    logger.warning(
        "the process ends although threads still run %.1f s after its stop: %s",
        seconds,
        ", ".join(threads),
    )
    logging.shutdown()
    os._exit(code)
