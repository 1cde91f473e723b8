"""WatchedWorker: what the command line asks of the worker that runs in its process."""

from __future__ import annotations

import asyncio
from typing import Protocol

from castwork.model.worker_info import WorkerInfo


class WatchedWorker(Protocol):
    """A worker, as those see it that stand beside it."""

    started: asyncio.Event

    @property
    def silent_for(self) -> float:
        """Seconds since the server last took a sign of life."""

    def describe(self) -> WorkerInfo:
        """What the worker is, and does now."""

    def stop(self) -> None:
        """Begin to stop."""
