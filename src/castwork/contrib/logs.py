"""Log lines that say in which task they were written, also those of libraries.

logging.basicConfig(format="%(asctime)s %(task)s/%(attempt)d %(message)s")
castwork.contrib.logs.install()
"""

from __future__ import annotations

import logging

from castwork import CastworkError, current

__all__ = ["TaskFilter", "install"]


class TaskFilter(logging.Filter):
    """Gives each record `task`, `attempt`, `queue` and `owner`; empty, and 0, outside of tasks.

    It reads a context variable, so that coroutines, threads of plain functions and what they call
    have their own task. A record whose `extra` has one of these keeps it. To be added to handlers:
    a logger's filter does not see what the loggers below it log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the task; every record passes."""
        try:
            here = current()
        except CastworkError:
            told: dict[str, object] = {"task": "", "attempt": 0, "queue": "", "owner": ""}
        else:
            told = {
                "task": here.task_id,
                "attempt": here.attempt,
                "queue": here.queue,
                "owner": here.owner,
            }
        for name, value in told.items():
            vars(record).setdefault(name, value)
        return True


def install(logger: logging.Logger | None = None) -> None:
    """Add a `TaskFilter` to all handlers of a logger, once.

    Args:
        logger: whose handlers; those of the root logger by default.
    """
    for handler in (logger or logging.getLogger()).handlers:
        if not any(isinstance(one, TaskFilter) for one in handler.filters):
            handler.addFilter(TaskFilter())
