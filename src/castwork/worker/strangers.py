"""Strangers: warns of workers of other programs that take tasks of the same queues."""

from __future__ import annotations

import logging

import msgspec

from castwork.model.errors import CastworkError
from castwork.model.worker_info import WorkerInfo
from castwork.store.members import Members

logger = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(WorkerInfo).decode

#: Seconds of silence after which a worker no longer counts.
_SILENT = 10.0


async def warn_of_strangers(members: Members, own: WorkerInfo) -> None:
    """Look once, at the start, for live workers that serve a queue of ours and know none of ours.

    Two programs in one namespace get each other's tasks, and know neither functions nor types.
    """
    try:
        found = await members.alive()
    except CastworkError:  # the worker's own connections tell of a server that is away
        return
    for member in found:
        try:
            other = _decode(member.info)
        except (msgspec.MsgspecError, RecursionError):
            continue
        shared = sorted(set(own.queues) & set(other.queues))
        if not shared or member.silent_for > _SILENT or other.id == own.id:
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
