"""Strangers: warns of workers of other programs that take tasks of the same queues."""

from __future__ import annotations

import logging

from castwork.model.errors import CastworkError
from castwork.model.worker_info import WorkerInfo
from castwork.store.register import Register

logger = logging.getLogger(__name__)


async def warn_of_strangers(register: Register, own: WorkerInfo) -> None:
    """Look once, at the start, for live workers that serve a queue of ours and know none of ours.

    Two programs in one namespace get each other's tasks, and know neither functions nor types.
    """
    try:
        found = await register.workers()
    except CastworkError:  # the worker's own connections tell of a server that is away
        return
    for worker in found:
        other = worker.info
        shared = sorted(set(own.queues) & set(other.queues))
        if not shared or worker.is_lost or other.id == own.id:
            continue
        # A worker of an earlier version does not tell its functions.
        if other.functions and not set(own.functions) & set(other.functions):
            logger.warning(
                "worker %s (pid %d on %s) serves queue %s too, and has none of this worker's"
                " functions: it looks like another program in the same namespace, and each gets"
                " tasks of the other: give each its own, AppSettings(namespace=...)",
                other.id,
                other.pid,
                other.host,
                ", ".join(shared),
            )
            return
