"""Freeing: gives back the idempotency key of a task whose key ends with its start or its end."""

from __future__ import annotations

import logging

from castwork.model.errors import NotOpen, ServerError
from castwork.store.queue_store import QueueStore
from castwork.worker.attempt import Attempt

logger = logging.getLogger(__name__)


async def free_key(store: QueueStore, attempt: Attempt) -> None:
    """Free the key of an attempt's task, unless it is another task's by now.

    A key that stays, as the server was away or the worker was lost, is freed by whoever enqueues
    with it next.
    """
    meta = attempt.meta
    if meta is None or not meta.key:
        return
    try:
        await store.enqueues.free_key((attempt.task, meta.tenant, meta.key), attempt.task_id)
    except (NotOpen, ServerError) as error:
        logger.info("the key of task %s is freed later: %s", attempt.task_id, error)
