"""Run: what a test sees of its app, and the recording behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.receipt import Receipt
from castwork.model.errors import DefinitionError
from castwork.model.option_values import Seconds
from castwork.model.record import TaskStatus
from castwork.tasks.call import Call
from castwork.tasks.function import TaskFunction
from castwork.tasks.task import Task

E = TypeVar("E")


class Run:
    """A test's run of an app.

    Args:
        app: the app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._tasks: list[tuple[str, Task[Any]]] = []
        self._events: dict[str, list[Any]] = {}

    def tasks(self, function: TaskFunction[..., Any] | None = None) -> Sequence[TaskStatus]:
        """The tasks that this process has enqueued during the run, in order, as they are now.

        Args:
            function: only tasks of this function.
        """
        return [
            task.status_sync()
            for name, task in self._tasks
            if function is None or name == function.name
        ]

    def events(self, channel: Channel[E]) -> list[E]:
        """What this process has published on a channel during the run, in order."""
        return list(self._events.get(channel.name, []))

    async def until_idle(self, timeout: Seconds = 10) -> None:
        """Wait until no queue has tasks that wait for a worker or run; those for later may wait.

        Raises:
            ResultTimeout: there are tasks still.
        """

    async def advance(self, seconds: Seconds) -> None:
        """Let time pass; see `running`.

        Raises:
            DefinitionError: this kind of run has no time that could pass.
        """
        raise DefinitionError("an inline run has no time: delays are skipped")

    async def lose_worker(self) -> None:
        """Let the worker be lost; see `running`.

        Raises:
            DefinitionError: this kind of run has no worker.
        """
        raise DefinitionError("an inline run has no worker")

    # -- recording ----------------------------------------------------------------------

    def note(self, function: str, task: Task[Any]) -> None:
        """Note a task that was enqueued."""
        if task.created:
            self._tasks.append((function, task))

    async def around_enqueue(self, call: Call[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
        """A wrapper around each enqueue that notes its task."""
        task = await proceed()
        self.note(call.function.name, task)
        return task

    @contextmanager
    def recording_events(self) -> Iterator[None]:
        """Note what is published inside of the block."""
        channels = list(self._app.channels.values())
        before = [channel.publisher for channel in channels]
        for channel in channels:
            self._events[channel.name] = []
            channel.publisher = self._noting(channel)
        try:
            yield
        finally:
            for channel, publisher in zip(channels, before, strict=True):
                channel.publisher = publisher

    def _noting(self, channel: Channel[Any]) -> Any:
        return _Noting(channel.publisher, self._events[channel.name])


class _Noting:
    """A publisher that notes what it publishes."""

    def __init__(self, publisher: Any, events: list[Any]) -> None:
        self._publisher = publisher
        self._events = events

    async def publish(self, event: Any) -> Receipt:
        receipt: Receipt = await self._publisher.publish(event)
        self._events.append(event)
        return receipt

    def publish_sync(self, event: Any, *, name: str) -> Receipt:
        receipt: Receipt = self._publisher.publish_sync(event, name=name)
        self._events.append(event)
        return receipt
