"""The end of a process, which threads of a user's code must not hold up."""

from __future__ import annotations

import logging
import os
import threading

logger = logging.getLogger(__name__)


def leave_within(seconds: float, code: int) -> None:
    """End this process with an exit code if it is still there after so many seconds.

    Python waits at its end for every thread. A thread of a task that was handed back would
    otherwise go on beside the task's next attempt for as long as it likes.
    """
    timer = threading.Timer(seconds, _leave, [seconds, code])
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
