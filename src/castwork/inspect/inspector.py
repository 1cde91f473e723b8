"""Inspector: reads what waits and what runs, and which workers live."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from castwork.model.worker_info import WorkerInfo
from castwork.redis.connections import Connections
from castwork.store.look import QueueInfo, look_at_queue
from castwork.store.members import Members
from castwork.store.place import RegisterPlace
from castwork.store.queue_store import QueueStore

logger = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(WorkerInfo).decode

#: Seconds of silence after which a worker is shown as lost.
_LOST_AFTER = 10.0


class Inspector:
    """Reads the state of an app's queues and workers."""

    def __init__(self, connections: Connections, namespace: str) -> None:
        self._workers = Members.of_workers(RegisterPlace(connections, namespace))

    async def queues(self, stores: Iterable[QueueStore]) -> list[QueueInfo]:
        """What waits and runs in each queue; group subscriptions are left out.

        Raises:
            ConnectionFailed: no server in time.
        """
        return [await look_at_queue(store.place) for store in stores if store.queue.keeps_records]

    async def workers(self) -> list[dict[str, Any]]:
        """The workers on the register: what each says of itself, and how long it was silent."""
        workers = []
        for member in await self._workers.alive():
            try:
                info = msgspec.to_builtins(_decode(member.info))
            except (msgspec.MsgspecError, RecursionError) as error:
                logger.warning("the register's line of %s was skipped: %s", member.name, error)
                continue
            info["silent_for"] = member.silent_for
            info["lost"] = member.silent_for > _LOST_AFTER
            workers.append(info)
        return sorted(workers, key=lambda info: str(info["id"]))
