"""Inspector: reads what waits and what runs, and which workers live."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from castwork.redis.connections import Connections
from castwork.store.look import QueueInfo, look_at_queue
from castwork.store.place import RegisterPlace
from castwork.store.queue_store import QueueStore
from castwork.store.register import Register


class Inspector:
    """Reads the state of an app's queues and workers."""

    def __init__(self, connections: Connections, namespace: str) -> None:
        self._register = Register(RegisterPlace(connections, namespace))

    async def queues(self, stores: Iterable[QueueStore]) -> list[QueueInfo]:
        """What waits and runs in each queue; group subscriptions are left out.

        Raises:
            ConnectionFailed: no server in time.
        """
        return [
            await look_at_queue(store.place, store.unserved)
            for store in stores
            if store.queue.keeps_records
        ]

    async def workers(self) -> list[dict[str, Any]]:
        """The workers on the register: what each says of itself, and how long it was silent."""
        workers = []
        for worker in await self._register.workers():
            info = msgspec.to_builtins(worker.info)
            info["silent_for"] = worker.silent_for
            info["lost"] = worker.is_lost
            workers.append(info)
        return sorted(workers, key=lambda info: str(info["id"]))
