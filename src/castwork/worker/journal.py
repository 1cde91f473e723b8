"""What a worker's log tells of its work: what it serves, and how each attempt has ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import time
from typing import Any

from castwork.model.record import ErrorInfo
from castwork.model.safe_text import printable
from castwork.model.states import TaskState
from castwork.model.worker_info import LISTED
from castwork.store.queue_store import QueueStore
from castwork.tasks.catalog import Catalog
from castwork.worker.attempt import Attempt
from castwork.worker.outcome import Finish, Outcome, Release

#: Has a line for each attempt; the others are those of what goes wrong, and of the worker's start.
logger = logging.getLogger(__name__)
_failures = logging.getLogger("castwork.worker.runner")
_start = logging.getLogger("castwork.worker.worker")

#: Ends that are no failures: a failure has a line of its own, whoever reads this journal.
_TOLD = (TaskState.SUCCEEDED, TaskState.CANCELLED, TaskState.EXPIRED)


def tell_served(worker_id: str, stores: Sequence[QueueStore], catalog: Catalog) -> None:
    """Write which queues a worker serves, and which functions it has for each."""
    for store in stores:
        names = sorted(one.name for one in catalog if one.store is store and not one.is_remote)
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        listed = ", ".join(map(printable, names[:LISTED])) or "no functions of its own"
        _start.info("queue %s: %s%s", printable(store.queue.name), listed, more)
    _start.info("worker %s serves %s", worker_id, [store.queue.name for store in stores])


def is_kept() -> bool:
    """Whether ends are told: asked once for many attempts, as most workers tell none."""
    return logger.isEnabledFor(logging.INFO)


def tell_end(attempt: Attempt, outcome: Outcome, noun: str) -> None:
    """Write how an attempt has ended, unless it failed or has lost its lease.

    Args:
        attempt: the attempt.
        outcome: what becomes of its task.
        noun: what the queue's entries are called, "task" or "event".
    """
    if isinstance(outcome, Finish) and outcome.status in _TOLD:
        how = outcome.status.value
    elif isinstance(outcome, Release) and outcome.started:
        how = "handed back"
    else:
        return
    _write(logger, "%s %s (%s): attempt %d %s, %.3f s", attempt, noun, how)


def tell_failure(attempt: Attempt, error: ErrorInfo, noun: str) -> None:
    """Write that an attempt has failed, and why."""
    if _failures.isEnabledFor(logging.INFO):
        why = printable(f"{error.type}: {error.message}", 2000)
        _write(_failures, "%s %s (%s): attempt %d failed, %.3f s: %s", attempt, noun, why)


def _write(to: logging.Logger, text: str, attempt: Attempt, noun: str, word: str) -> None:
    began = attempt.started_at
    seconds = 0.0 if began is None else max(0.0, time() - began)
    values: tuple[Any, ...] = (word, seconds) if to is logger else (seconds, word)
    to.info(
        text,
        noun,
        attempt.task_id,
        printable(attempt.task),
        attempt.number,
        *values,
        extra={
            "task": attempt.task_id,
            "attempt": attempt.number,
            "function": attempt.task,
            "queue": attempt.queue,
            "seconds": round(seconds, 6),
        },
    )
