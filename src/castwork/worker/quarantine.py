"""Quarantine: runs a task that two workers were lost with in a worker that runs nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from castwork.worker.workload import Workload

#: Seconds between looks whether the worker is idle by now.
_LOOK = 0.05


class Quarantine:
    """Empties a worker for one task, so that the task's crash would take no neighbour along.

    Args:
        workloads: all that the worker runs.
        patience: seconds that running tasks may take to end. A worker that runs longer tasks than
            that goes on claiming, and leaves the suspect to other workers.
    """

    def __init__(self, workloads: Sequence[Workload], *, patience: float) -> None:
        self._workloads = workloads
        self._patience = patience
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[bool]:
        """Claim nothing, and yield whether the worker holds nothing by now."""
        async with self._turn:
            for workload in self._workloads:
                workload.pause("alone")
            try:
                yield await self._is_empty()
            finally:
                for workload in self._workloads:
                    workload.go_on("alone")

    async def _is_empty(self) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while any(len(one) or one.running for one in self._workloads):
            if loop.time() > until:
                return False
            await asyncio.sleep(_LOOK)
        return True
