"""Finds the channel or the task that a path names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.gateway.errors import UnknownChannel
from castwork.tasks.task import Task


def find_channel(app: App, name: str) -> Channel[Any]:
    """Find a channel.

    Raises:
        UnknownChannel: there is none; the error has names that look alike.
    """
    if name not in app.channels:
        close = get_close_matches(name, app.channels)
        raise UnknownChannel(f"no channel is named {name!r}", close)
    return app.channels[name]


async def find_task(app: App, task_id: str) -> Task[Any]:
    """Find a task that exists.

    Raises:
        TaskNotFound: there is no such task, or its record passed its TTL.
        ConnectionFailed: no server in time.
    """
    task = app.get_task(task_id)
    await task.status()
    return task
