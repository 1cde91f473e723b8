"""Finding what a path names: task functions, tasks and channels."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.gateway.errors import UnknownChannel, UnknownName
from castwork.model.errors import TaskNotFound
from castwork.tasks.function import TaskFunction
from castwork.tasks.task import Task, TaskStatus


def list_functions(app: App) -> list[TaskFunction[..., Any]]:
    """The task functions that may be called: all but the handlers of groups."""
    return [function for function in app.tasks if function.queue.keeps_records]


def find_function(app: App, name: str) -> TaskFunction[..., Any]:
    """Find a task function.

    Raises:
        UnknownName: there is none; it tells names that are close.
    """
    functions = {function.name: function for function in list_functions(app)}
    if name not in functions:
        close = get_close_matches(name, functions)
        raise UnknownName(f"no task function is named {name!r}", close)
    return functions[name]


def find_channel(app: App, name: str) -> Channel[Any]:
    """Find a channel.

    Raises:
        UnknownChannel: there is none; it tells names that are close.
    """
    if name not in app.channels:
        close = get_close_matches(name, app.channels)
        raise UnknownChannel(f"no channel is named {name!r}", close)
    return app.channels[name]


async def find_task(app: App, task_id: str) -> tuple[Task[Any], TaskStatus | None]:
    """Find a task and its state.

    The id of an adopted stream's entry names no stream, so the one that has a record of it is
    taken. Before its task starts none has: the state is then None.

    Raises:
        TaskNotFound: there is no such task, or its record passed its TTL.
    """
    task = app.get_task(task_id)
    adopting = [f for f in app.tasks.adopting_for(task_id) if f.queue.name == task.queue]
    if not adopting:
        return task, await task.status()
    candidates = [function.task(task_id) for function in app.tasks.adopting_for(task_id)]
    for candidate in candidates:
        try:
            return candidate, await candidate.status()
        except TaskNotFound:
            continue
    return candidates[0], None
