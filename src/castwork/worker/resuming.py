"""Resuming: gives an attempt what the attempts before it saved."""

from __future__ import annotations

import asyncio
import logging

from castwork.model.errors import ConnectionFailed
from castwork.worker.attempt import Attempt

logger = logging.getLogger(__name__)

#: Seconds between two questions to a server that is away.
_PATIENCE = 0.2


async def resume(attempt: Attempt) -> None:
    """Load what was saved; while the server is away this waits, within the attempt's timeout."""
    while True:
        try:
            await attempt.load_checkpoint()
            return
        except ConnectionFailed as error:
            logger.warning("task %s waits for what it saved: %s", attempt.task_id, error)
            await asyncio.sleep(_PATIENCE)
